{% autoescape off %}# Enrols this machine with Vigie; run as an administrator, in Windows PowerShell 5.1 or later.
# The enrolment token comes from enrol.token beside this script, or is asked for: it stands on no command line.
$ErrorActionPreference = 'Stop'
[Net.ServicePointManager]::SecurityProtocol =
    [Net.ServicePointManager]::SecurityProtocol -bor [Net.SecurityProtocolType]::Tls12

$tokenFile = Join-Path $PSScriptRoot 'enrol.token'
if (Test-Path -LiteralPath $tokenFile) {
    $token = (Get-Content -LiteralPath $tokenFile -Raw).Trim()
} else {
    $typed = Read-Host -Prompt 'Enrolment token' -AsSecureString
    $token = (New-Object Net.NetworkCredential('', $typed)).Password.Trim()
}

# Readable by SYSTEM and administrators alone; add the account of your application if it is another one.
$state = Join-Path $env:ProgramData 'Vigie'
New-Item -ItemType Directory -Force -Path $state | Out-Null
icacls $state /inheritance:r /grant:r '*S-1-5-18:(OI)(CI)F' /grant:r '*S-1-5-32-544:(OI)(CI)F' | Out-Null

# The same id on every attempt: where an answer was lost, the portal then gives the token once more.
$idFile = Join-Path $state 'enrollment_id'
if (-not (Test-Path -LiteralPath $idFile)) {
    [guid]::NewGuid().ToString() | Set-Content -LiteralPath $idFile -Encoding Ascii
}

$body = @{
    machine_id    = $env:COMPUTERNAME
    hostname      = [Net.Dns]::GetHostName()
    user_name     = $env:USERNAME
    os_info       = [Environment]::OSVersion.VersionString
    enrollment_id = (Get-Content -LiteralPath $idFile -Raw).Trim()
} | ConvertTo-Json

$request = @{
    Method      = 'Post'
    Uri         = '{{ enroll_url }}'
    Headers     = @{ Authorization = "Bearer $token" }
    ContentType = 'application/json; charset=utf-8'
    Body        = [Text.Encoding]::UTF8.GetBytes($body)
    TimeoutSec  = 30
}
try {
    $answer = Invoke-RestMethod @request
} catch {
    # Any status that is not 2xx lands here; the answer, where there is one, says why.
    $reason = $_.Exception.Message
    if ($_.ErrorDetails -and $_.ErrorDetails.Message) { $reason = $_.ErrorDetails.Message }
    [Console]::Error.WriteLine("Not enrolled: $reason")
    exit 1
}

$answer.api_token | Set-Content -LiteralPath (Join-Path $state 'agent.token') -Encoding Ascii -NoNewline
if (Test-Path -LiteralPath $tokenFile) { Remove-Item -LiteralPath $tokenFile }
"$($answer.machine_id): $($answer.status)"
{% endautoescape %}
