{ Runs functions of the Inno Setup snippet: prints name and token of each file named, and the names of the hosts on
  standard input. }
{$mode delphi}{$H+}
uses SysUtils, Classes;

function LoadStringFromFile(const FileName: String; var Text: AnsiString): Boolean;
var
  Stream: TFileStream;
begin
  Stream := TFileStream.Create(FileName, fmOpenRead);
  SetLength(Text, Stream.Size);
  if Stream.Size > 0 then Stream.ReadBuffer(Text[1], Stream.Size);
  Stream.Free;
  Result := True;
end;

{FUNCTIONS}

var
  I: Integer;
  Host: String;
begin
  for I := 1 to ParamCount do
    WriteLn(JsonValue(ReadText(ParamStr(I)), 'machine_id'), ' ', ReadToken(ParamStr(I), 'agent'));
  while not Eof do begin
    ReadLn(Host);
    WriteLn(MachineName(Host));
  end;
end.
