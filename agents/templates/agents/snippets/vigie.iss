{% autoescape off %}[Files]
; Enrolment with the Vigie portal at {{ portal_url }}, for Inno Setup 6.
;
; Keep this file and vigie.ps1 beside your script, and add one line at its end:
;
;   #include "vigie.iss"
;
; Your script needs AppVersion, and PrivilegesRequired=admin, which is the default. Its own event functions stay as they
; are: those below have event attributes, so both are called.
;
; Setup finds the enrolment token in enrol.token beside setup.exe, or in the file named by /TOKENFILE=path; otherwise it
; asks for it on a page. Never pass the token itself as a parameter: Setup writes its command line into its log.
; The machine's own token is kept in {commonappdata}\Vigie\token.json, where vigie-client finds it. SYSTEM and
; administrators may change it, and the account of /VIGIEUSER=name may read it: that of the application, by default the
; account that runs Setup. Setup run again renews that token, or replaces one that no longer works. A task sends a
; heartbeat every {{ minutes }} minutes. Windows 7 needs the update KB3140245 for TLS 1.2.

Source: "vigie.ps1"; DestDir: "{commonpf}\Vigie"; Flags: ignoreversion

[Code]
const
  EnrolUrl = '{{ portal_url }}/api/v1/agents/enroll';
  HeartbeatTask = 'Vigie heartbeat';
  UninstallUrl = '{{ portal_url }}/api/v1/agents/uninstall';

var
  // The code of the last refusal.
  Refusal: String;
  TokenPage: TInputQueryWizardPage;

function StateFile(const Name: String): String;
begin
  Result := ExpandConstant('{commonappdata}\Vigie\') + Name;
end;

function TokenFile: String;
begin
  Result := ExpandConstant('{param:TOKENFILE|{src}\enrol.token}');
end;

// True if the tool succeeded.
function RunTool(const Tool, Parameters: String): Boolean;
var
  Code: Integer;
begin
  Code := -1;
  Exec(ExpandConstant('{sys}\') + Tool, Parameters, '', SW_HIDE, ewWaitUntilTerminated, Code);
  Result := Code = 0;
  if not Result then Log('Vigie: ' + Tool + ' ended with ' + IntToStr(Code));
end;

// True if only SYSTEM and administrators may write to the folder.
function MakeStateFolder: Boolean;
var
  Folder: String;
begin
  Folder := ExpandConstant('{commonappdata}\Vigie');
  ForceDirectories(Folder);
  // Any user may create folders in ProgramData, and would then own this one.
  Result := RunTool('icacls.exe', '"' + Folder + '" /setowner *S-1-5-32-544');
  Result := RunTool('icacls.exe', '"' + Folder + '" /reset') and Result;
  Result := RunTool('icacls.exe', '"' + Folder +
    '" /inheritance:r /grant:r *S-1-5-18:(OI)(CI)F /grant:r *S-1-5-32-544:(OI)(CI)F') and Result;
  RunTool('icacls.exe', '"' + Folder + '" /grant "' + ExpandConstant('{param:VIGIEUSER|{username}}') + ':(OI)(CI)RX"');
end;

// The text as JSON in plain ASCII, so that no code page can spoil it.
function JsonText(const Text: String): String;
var
  I, Code: Integer;
begin
  Result := '"';
  for I := 1 to Length(Text) do begin
    Code := Ord(Text[I]);
    if (Code < 32) or (Code > 126) or (Text[I] = '"') or (Text[I] = '\') then
      Result := Result + Format('\u%.4x', [Code])
    else
      Result := Result + Text[I];
  end;
  Result := Result + '"';
end;

// The value of a text member of a flat JSON object: api_token and code hold nothing that would need unescaping.
function JsonValue(const Json, Name: String): String;
var
  At: Integer;
  Rest: String;
begin
  Result := '';
  At := Pos('"' + Name + '"', Json);
  if At = 0 then Exit;
  Rest := Copy(Json, At + Length(Name) + 2, Length(Json));
  At := Pos('"', Rest);
  if At = 0 then Exit;
  Rest := Copy(Rest, At + 1, Length(Rest));
  At := Pos('"', Rest);
  if At > 0 then
    Result := Copy(Rest, 1, At - 1);
end;

// The text of a small file of which ASCII alone matters: UTF-16 has NULs in between, and a byte order mark may come first.
function ReadText(const FileName: String): String;
var
  Raw: AnsiString;
  Text: String;
  I: Integer;
begin
  Result := '';
  if not LoadStringFromFile(FileName, Raw) then Exit;
  Text := String(Raw);
  for I := 1 to Length(Text) do
    if Text[I] <> #0 then
      Result := Result + Text[I];
end;

function FindToken(const Text, Kind: String): String;
var
  At: Integer;
begin
  Result := '';
  At := Pos('vigie_' + Kind + '_', Text);
  if At > 0 then
    Result := Copy(Text, At, Length('vigie_' + Kind + '_') + 63);
end;

function ReadToken(const FileName, Kind: String): String;
begin
  Result := FindToken(ReadText(FileName), Kind);
end;

// agent.token was written by earlier versions of this script.
function StoredToken: String;
begin
  Result := ReadToken(StateFile('token.json'), 'agent');
  if Result = '' then
    Result := ReadToken(StateFile('agent.token'), 'agent');
end;

// The name that vigie-client and the other installers derive from a host name: each run of other characters becomes
// one hyphen, and leading . _ - are removed.
function MachineName(const HostName: String): String;
var
  I: Integer;
  Gap: Boolean;
begin
  Result := '';
  Gap := False;
  for I := 1 to Length(HostName) do
    if Pos(HostName[I], 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._') = 0 then
      Gap := True
    else if (Result <> '') or ((HostName[I] <> '.') and (HostName[I] <> '_')) then begin
      if Gap and (Result <> '') then Result := Result + '-';
      Gap := False;
      Result := Result + HostName[I];
    end;
  Result := Copy(Result, 1, 128);
end;

// The name that all programs get from the system; GetComputerNameString cuts it to 15 characters.
function HostName: String;
begin
  if not RegQueryStringValue(HKLM, 'SYSTEM\CurrentControlSet\Services\Tcpip\Parameters', 'Hostname', Result) then
    Result := GetComputerNameString;
end;

// The same id on every attempt: if an answer was lost, the portal then gives the token once more.
function EnrollmentId: String;
var
  Raw: AnsiString;
begin
  if LoadStringFromFile(StateFile('enrollment_id'), Raw) then
    Result := Trim(String(Raw))
  else begin
    Result := GetDateTimeString('yyyymmddhhnnss', #0, #0) + '-' + IntToStr(Random(1000000000)) + IntToStr(Random(1000000000));
    SaveStringToFile(StateFile('enrollment_id'), Result, False);
  end;
end;

// Once enrolled, a machine keeps its name, whatever the computer is called later.
function MachineId: String;
begin
  Result := JsonValue(ReadText(StateFile('token.json')), 'machine_id');
  if Result = '' then
    Result := MachineName(HostName);
  if Result = '' then
    Result := 'machine-' + EnrollmentId;
end;

// The answer's status, or 0 if none came; its body is in Answer.
function Post(const Url, Token, Body: String; const Patience: Integer; var Answer: String): Integer;
var
  Http: Variant;
begin
  Result := 0;
  Answer := '';
  try
    Http := CreateOleObject('WinHttp.WinHttpRequest.5.1');
    // Resolve, connect, send, receive, in milliseconds: left alone, resolving waits for ever.
    Http.SetTimeouts(Patience, Patience, Patience, Patience);
    Http.Open('POST', Url, False);
    // Before Windows 8.1 TLS 1.2 has to be asked for; 9 is SecureProtocols.
    if GetWindowsVersion < $06030000 then
      try
        Http.Option[9] := $0800;
      except
        Log('Vigie: TLS 1.2 cannot be asked for.');
      end;
    Http.SetRequestHeader('Authorization', 'Bearer ' + Token);
    Http.SetRequestHeader('Content-Type', 'application/json');
    Http.Send(Body);
    Answer := Http.ResponseText;
    Result := Http.Status;
  except
    Log('Vigie: ' + GetExceptionMessage);
  end;
end;

// True if the portal gave the machine a token, which is then stored. Status is 0 if no answer came.
function Ask(const Token, Members: String; var Status: Integer): Boolean;
var
  Answer, ApiToken: String;
begin
  Result := False;
  Status := Post(EnrolUrl, Token, '{' + Members +
    '"hostname": ' + JsonText(HostName) +
    ', "user_name": ' + JsonText(GetUserNameString) +
    ', "os_info": ' + JsonText('Windows ' + GetWindowsVersionString) +
    ', "version": ' + JsonText('{% verbatim %}{#SetupSetting("AppVersion")}{% endverbatim %}') + '}', 15000, Answer);
  ApiToken := JsonValue(Answer, 'api_token');
  if (Status >= 200) and (Status <= 299) and (ApiToken <> '') then begin
    // A new file has the rights of the folder; an existing one would keep its own.
    DeleteFile(StateFile('token.json'));
    Result := SaveStringToFile(StateFile('token.json'), '{"machine_id": ' + JsonText(JsonValue(Answer, 'machine_id')) +
      ', "api_token": ' + JsonText(ApiToken) + '}', False);
  end else
    Refusal := JsonValue(Answer, 'code');
  if not Result then Log('Vigie: not enrolled, status ' + IntToStr(Status) + ' ' + Refusal);
  if Result then DeleteFile(TokenFile);
  if Result then DeleteFile(StateFile('agent.token'));
  if Result then DeleteFile(StateFile('enrollment_id'));
end;

// With the machine's own token, which is renewed. False if there is none, or none that the portal accepts.
function Renew: Boolean;
var
  Status: Integer;
begin
  Result := False;
  if StoredToken = '' then Exit;
  Result := Ask(StoredToken, '', Status);
  // An upgrade without a network is no failure: the token may be as good as before.
  if (Status = 0) or (Status >= 500) then Result := True;
end;

// The token of the file, else the one that was typed.
function EnrolmentToken: String;
begin
  Result := ReadToken(TokenFile, 'enroll');
  if Result = '' then
    Result := FindToken(TokenPage.Values[0], 'enroll');
end;

function Enrol: Boolean;
var
  Token: String;
  Status: Integer;
begin
  Result := False;
  Token := EnrolmentToken;
  if Token <> '' then
    Result := Ask(Token, '"machine_id": ' + JsonText(MachineId) +
      ', "enrollment_id": ' + JsonText(EnrollmentId) + ', ', Status)
  else
    Log('Vigie: no enrolment token in ' + TokenFile);
end;

<event('InitializeWizard')>
procedure VigieInitializeWizard;
begin
  TokenPage := CreateInputQueryPage(wpSelectDir, 'Enrolment', 'Connect this computer to the portal',
    'Paste the enrolment token. Leave empty to install without enrolling.');
  TokenPage.Add('Enrolment token:', True);
end;

// The token is asked for only if there is none.
<event('ShouldSkipPage')>
function VigieShouldSkipPage(PageID: Integer): Boolean;
begin
  Result := (PageID = TokenPage.ID) and ((StoredToken <> '') or (ReadToken(TokenFile, 'enroll') <> ''));
end;

<event('NextButtonClick')>
function VigieNextButtonClick(CurPageID: Integer): Boolean;
begin
  Result := (CurPageID <> TokenPage.ID) or (Trim(TokenPage.Values[0]) = '') or
    (FindToken(TokenPage.Values[0], 'enroll') <> '');
  if not Result then
    SuppressibleMsgBox('This is not an enrolment token: it begins with vigie_enroll_.', mbError, MB_OK, IDOK);
end;

// Each machine begins at a minute of its own, so that not all call at once.
procedure ScheduleHeartbeats;
begin
  RunTool('schtasks.exe', '/Create /F /TN "' + HeartbeatTask + '" /RU SYSTEM /SC MINUTE /MO {{ minutes }} /ST ' +
    Format('00:%.2d', [Random({{ minutes }})]) +
    ' /TR "powershell.exe -NoProfile -NonInteractive -ExecutionPolicy Bypass -File \"' +
    ExpandConstant('{commonpf}\Vigie\vigie.ps1') + '\" heartbeat"');
end;

<event('CurStepChanged')>
procedure VigieCurStepChanged(CurStep: TSetupStep);
var
  Done: Boolean;
  Text: String;
begin
  if CurStep <> ssPostInstall then Exit;
  Done := MakeStateFolder;
  if Done then begin
    Done := Renew;
    if not Done then Done := Enrol;
  end;
  Text := 'This machine could not be enrolled. The log of the installation says why.';
  if Refusal = 'approval_required' then
    Text := 'An operator of the portal must allow this machine first. Run Setup again within 15 minutes after that.';
  if StoredToken <> '' then ScheduleHeartbeats;
  if not Done then
    SuppressibleMsgBox(Text, mbError, MB_OK, IDOK);
end;

<event('CurUninstallStepChanged')>
procedure VigieCurUninstallStepChanged(CurUninstallStep: TUninstallStep);
var
  Answer: String;
begin
  if CurUninstallStep <> usUninstall then Exit;
  RunTool('schtasks.exe', '/Delete /F /TN "' + HeartbeatTask + '"');
  // The token says which machine it is. Whatever is answered, the removal goes on.
  if StoredToken <> '' then
    Post(UninstallUrl, StoredToken, '{"reason": "uninstalled"}', 1000, Answer);
  DelTree(ExpandConstant('{commonappdata}\Vigie'), True, True, True);
end;
{% endautoescape %}
