{% autoescape off %}; Enrolment with Vigie, for Inno Setup 6. Merge it into the [Code] section of your script.
;
; The installer finds the enrolment token in enrol.token beside setup.exe, or in the file named by /TOKENFILE=path.
; Never hand the token itself over as a parameter: Setup writes its whole command line into its log.
; The machine's own token ends up in {commonappdata}\Vigie\agent.token, readable by SYSTEM and administrators;
; add the account of your application to the icacls line if it is another one.

[Code]
const
  EnrolUrl = '{{ enroll_url }}';
  UninstallUrl = '{{ uninstall_url }}';

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

// The first line of a token file, without the byte order mark an editor may have put before it.
function ReadToken(const FileName, Kind: String): String;
var
  Raw: AnsiString;
  At: Integer;
begin
  Result := '';
  if not LoadStringFromFile(FileName, Raw) then Exit;
  At := Pos('vigie_' + Kind + '_', String(Raw));
  if At > 0 then
    Result := Copy(String(Raw), At, Length('vigie_' + Kind + '_') + 63);
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
    Http.SetRequestHeader('Authorization', 'Bearer ' + Token);
    Http.SetRequestHeader('Content-Type', 'application/json');
    Http.Send(Body);
    Answer := Http.ResponseText;
    Result := Http.Status;
  except
    Log('Vigie: ' + GetExceptionMessage);
  end;
end;

function Enrol: Boolean;
var
  Token, Body, Answer, ApiToken: String;
  Status: Integer;
begin
  Result := False;
  Token := ReadToken(TokenFile, 'enroll');
  if Token = '' then begin
    Log('Vigie: no enrolment token in ' + TokenFile);
    Exit;
  end;
  MakeStateFolder;
  Body := '{"machine_id": ' + JsonText(GetComputerNameString) +
    ', "hostname": ' + JsonText(GetComputerNameString) +
    ', "user_name": ' + JsonText(GetUserNameString) +
    ', "os_info": ' + JsonText('Windows ' + GetWindowsVersionString) +
    ', "version": ' + JsonText('{% verbatim %}{#SetupSetting("AppVersion")}{% endverbatim %}') +
    ', "enrollment_id": ' + JsonText(EnrollmentId) + '}';
  Status := Post(EnrolUrl, Token, Body, 15000, Answer);
  ApiToken := JsonValue(Answer, 'api_token');
  if (Status >= 200) and (Status <= 299) and (ApiToken <> '') then begin
    Result := SaveStringToFile(StateFile('agent.token'), ApiToken, False);
    if Result then DeleteFile(TokenFile);
  end
  else
    Log('Vigie: not enrolled, status ' + IntToStr(Status) + ' ' + JsonValue(Answer, 'code'));
end;

procedure CurStepChanged(CurStep: TSetupStep);
begin
  // An upgrade finds the machine enrolled already.
  if (CurStep = ssPostInstall) and not FileExists(StateFile('agent.token')) then
    if not Enrol then
      SuppressibleMsgBox('This machine could not be enrolled. The log of the installation says why.',
        mbError, MB_OK, IDOK);
end;

procedure CurUninstallStepChanged(CurUninstallStep: TUninstallStep);
var
  Token, Answer: String;
begin
  if CurUninstallStep <> usUninstall then Exit;
  Token := ReadToken(StateFile('agent.token'), 'agent');
  if Token <> '' then
    // Whatever is answered, the removal goes on.
    Post(UninstallUrl, Token,
      '{"machine_id": ' + JsonText(GetComputerNameString) + ', "reason": "uninstalled"}', 1000, Answer);
  DelTree(ExpandConstant('{commonappdata}\Vigie'), True, True, True);
end;
{% endautoescape %}
