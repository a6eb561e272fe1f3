{% autoescape off %}# Enrols this machine with Vigie; run as an administrator, in Windows PowerShell 5.1 or later. Run it again to renew the
# machine's token, or to replace one that no longer works.
# The enrolment token comes from enrol.token beside this script (of a pasted script: in the current folder), or is asked
# for: it stands on no command line. The machine's own token is kept in token.json, where vigie-client finds it.
$ErrorActionPreference = 'Stop'
[Net.ServicePointManager]::SecurityProtocol =
    [Net.ServicePointManager]::SecurityProtocol -bor [Net.SecurityProtocolType]::Tls12

$folder = if ($PSScriptRoot) { $PSScriptRoot } else { (Get-Location -PSProvider FileSystem).ProviderPath }
$tokenFile = Join-Path $folder 'enrol.token'
# Readable by SYSTEM and administrators alone; add the account of your application if it is another one.
$state = Join-Path $env:ProgramData 'Vigie'
New-Item -ItemType Directory -Force -Path $state | Out-Null
icacls $state /inheritance:r /grant:r '*S-1-5-18:(OI)(CI)F' /grant:r '*S-1-5-32-544:(OI)(CI)F' | Out-Null
$store = Join-Path $state 'token.json'
$olderStore = Join-Path $state 'agent.token'
$idFile = Join-Path $state 'enrollment_id'

# The name that vigie-client and the other installers make of a host name too.
function Get-MachineName([string]$HostName) {
    $name = $HostName -creplace '[^A-Za-z0-9._]+', '-' -creplace '^[._-]+|-$', ''
    $name.Substring(0, [Math]::Min(128, $name.Length))
}

function Get-Credentials {
    if (Test-Path -LiteralPath $store) {
        try { return Get-Content -LiteralPath $store -Raw | ConvertFrom-Json } catch { return $null }
    }
    if (Test-Path -LiteralPath $olderStore) {
        return @{ machine_id = ''; api_token = (Get-Content -LiteralPath $olderStore -Raw).Trim() }
    }
}

function Read-EnrolmentToken {
    if (Test-Path -LiteralPath $tokenFile) { return (Get-Content -LiteralPath $tokenFile -Raw).Trim() }
    $typed = Read-Host -Prompt 'Enrolment token' -AsSecureString
    (New-Object Net.NetworkCredential('', $typed)).Password.Trim()
}

function Send-Enrolment([string]$Token, [hashtable]$Members) {
    $body = $Members + @{
        hostname  = [Net.Dns]::GetHostName()
        user_name = $env:USERNAME
        os_info   = [Environment]::OSVersion.VersionString
    } | ConvertTo-Json
    $request = @{
        Method      = 'Post'
        Uri         = '{{ enroll_url }}'
        Headers     = @{ Authorization = "Bearer $Token" }
        ContentType = 'application/json; charset=utf-8'
        Body        = [Text.Encoding]::UTF8.GetBytes($body)
        TimeoutSec  = 30
    }
    Invoke-RestMethod @request
}

# Any status that is not 2xx lands here; the answer, where there is one, says why.
function Stop-Enrolment($Failure) {
    $reason = $Failure.Exception.Message
    if ($Failure.ErrorDetails -and $Failure.ErrorDetails.Message) {
        try {
            $problem = $Failure.ErrorDetails.Message | ConvertFrom-Json
            if ($problem.code) { $reason = "$($problem.code): $($problem.detail)" }
        } catch { }
    }
    [Console]::Error.WriteLine("Not enrolled: $reason")
    exit 1
}

$answer = $null
$own = Get-Credentials
if ($own -and $own.api_token) {
    try {
        $answer = Send-Enrolment $own.api_token @{}
    } catch {
        if (-not $_.Exception.Response -or [int]$_.Exception.Response.StatusCode -notin 401, 403) { Stop-Enrolment $_ }
    }
}
if (-not $answer) {
    # The same id on every attempt: where an answer was lost, the portal then gives the token once more.
    if (-not (Test-Path -LiteralPath $idFile)) {
        [guid]::NewGuid().ToString() | Set-Content -LiteralPath $idFile -Encoding Ascii
    }
    $id = (Get-Content -LiteralPath $idFile -Raw).Trim()
    $name = if ($own -and $own.machine_id) { $own.machine_id } else { Get-MachineName ([Net.Dns]::GetHostName()) }
    if (-not $name) { $name = "machine-$id" }
    try {
        $answer = Send-Enrolment (Read-EnrolmentToken) @{ machine_id = $name; enrollment_id = $id }
    } catch {
        Stop-Enrolment $_
    }
}

$kept = @{ machine_id = $answer.machine_id; api_token = $answer.api_token } | ConvertTo-Json -Compress
[IO.File]::WriteAllText($store, $kept)
foreach ($file in $tokenFile, $olderStore, $idFile) {
    if (Test-Path -LiteralPath $file) { Remove-Item -LiteralPath $file }
}
"$($answer.machine_id): $($answer.status)"
{% endautoescape %}
