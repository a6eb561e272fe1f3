{% autoescape off %}; Enrolment with Vigie, for Inno Setup 6. Merge it into the [Code] section of your script.
;
; The installer finds the enrolment token in enrol.token beside setup.exe, or in the file named by /TOKENFILE=path.
; Never hand the token itself over as a parameter: Setup writes its whole command line into its log.
; The machine's own token is kept in {commonappdata}\Vigie\token.json, where vigie-client finds it, readable by SYSTEM
; and administrators; add the account of your application to the icacls line if it is another one. Setup run again
; renews that token, or replaces one that no longer works. Windows 7 needs the update KB3140245 for TLS 1.2.

[Code]
const
  EnrolUrl = '{{ enroll_url }}';
  UninstallUrl = '{{ uninstall_url }}';

var
  // The code of the last refusal.
  Refusal: String;

function StateFile(const Name: String): String;
begin
  Result := ExpandConstant('{commonappdata}\Vigie\') + Name;
end;

function TokenFile: String;
begin
  Result := ExpandConstant('{param:TOKENFILE|{src}\enrol.token}');
end;

procedure MakeStateFolder;
var
  Folder: String;
  Code: Integer;
begin
  Folder := ExpandConstant('{commonappdata}\Vigie');
  ForceDirectories(Folder);
  Exec(ExpandConstant('{sys}\icacls.exe'),
    '"' + Folder + '" /inheritance:r /grant:r *S-1-5-18:(OI)(CI)F /grant:r *S-1-5-32-544:(OI)(CI)F',
    '', SW_HIDE, ewWaitUntilTerminated, Code);
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

// The text of a small file of which ASCII alone matters: UTF-16 has NULs in between, and a mark may stand in front.
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

function ReadToken(const FileName, Kind: String): String;
var
  Text: String;
  At: Integer;
begin
  Result := '';
  Text := ReadText(FileName);
  At := Pos('vigie_' + Kind + '_', Text);
  if At > 0 then
    Result := Copy(Text, At, Length('vigie_' + Kind + '_') + 63);
end;

// agent.token was written by earlier versions of this script.
function StoredToken: String;
begin
  Result := ReadToken(StateFile('token.json'), 'agent');
  if Result = '' then
    Result := ReadToken(StateFile('agent.token'), 'agent');
end;

// The name that vigie-client and the other installers make of a host name too: each run of other characters becomes
// one hyphen, and none of . _ - stands in front.
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

// The same id on every attempt: where an answer was lost, the portal then gives the token once more.
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

// The answer's status, or 0 where none came; its body is in Answer.
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

// Whether the portal gave the machine a token, which is then stored. Status is 0 where no answer came.
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
  if (Status >= 200) and (Status <= 299) and (ApiToken <> '') then
    Result := SaveStringToFile(StateFile('token.json'), '{"machine_id": ' + JsonText(JsonValue(Answer, 'machine_id')) +
      ', "api_token": ' + JsonText(ApiToken) + '}', False)
  else
    Refusal := JsonValue(Answer, 'code');
  if not Result then Log('Vigie: not enrolled, status ' + IntToStr(Status) + ' ' + Refusal);
  if Result then DeleteFile(TokenFile);
  if Result then DeleteFile(StateFile('agent.token'));
  if Result then DeleteFile(StateFile('enrollment_id'));
end;

// With the machine's own token, which is renewed. False where there is none, or none that the portal takes.
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

function Enrol: Boolean;
var
  Token: String;
  Status: Integer;
begin
  Result := False;
  Token := ReadToken(TokenFile, 'enroll');
  if Token <> '' then
    Result := Ask(Token, '"machine_id": ' + JsonText(MachineId) +
      ', "enrollment_id": ' + JsonText(EnrollmentId) + ', ', Status)
  else
    Log('Vigie: no enrolment token in ' + TokenFile);
end;

procedure CurStepChanged(CurStep: TSetupStep);
var
  Done: Boolean;
  Text: String;
begin
  if CurStep <> ssPostInstall then Exit;
  MakeStateFolder;
  Done := Renew;
  if not Done then Done := Enrol;
  Text := 'This machine could not be enrolled. The log of the installation says why.';
  if Refusal = 'approval_required' then
    Text := 'An operator of the portal must allow this machine first. Run Setup again within 15 minutes after that.';
  if not Done then
    SuppressibleMsgBox(Text, mbError, MB_OK, IDOK);
end;

procedure CurUninstallStepChanged(CurUninstallStep: TUninstallStep);
var
  Answer: String;
begin
  if CurUninstallStep <> usUninstall then Exit;
  // The token says which machine it is. Whatever is answered, the removal goes on.
  if StoredToken <> '' then
    Post(UninstallUrl, StoredToken, '{"reason": "uninstalled"}', 1000, Answer);
  DelTree(ExpandConstant('{commonappdata}\Vigie'), True, True, True);
end;
{% endautoescape %}
