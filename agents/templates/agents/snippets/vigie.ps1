{% autoescape off %}# Connects this machine to the Vigie portal at {{ portal_url }}.
# Run it as an administrator, in Windows PowerShell 5.1 or later:
#
#   powershell -ExecutionPolicy Bypass -File vigie.ps1 enrol      enrols, or renews and repairs an enrolment; schedules heartbeats
#   powershell -ExecutionPolicy Bypass -File vigie.ps1 heartbeat  reports that the machine is online
#   powershell -ExecutionPolicy Bypass -File vigie.ps1 uninstall  reports that it was uninstalled; deletes its token and task, always
#
# The enrolment token comes from enrol.token in the current folder or beside this script, or it is asked for; it is never
# on a command line. The machine's own token is kept in token.json, where vigie-client finds it. SYSTEM and administrators
# may change it, and the account of -User may read it: that of the application, by default the one that runs this script.
param(
    [ValidateSet('enrol', 'heartbeat', 'uninstall')][string]$Command = 'enrol',
    [string]$TokenFile = '',
    [string]$User = ''
)
$ErrorActionPreference = 'Stop'
[Net.ServicePointManager]::SecurityProtocol =
    [Net.ServicePointManager]::SecurityProtocol -bor [Net.SecurityProtocolType]::Tls12

$portal = '{{ portal_url }}'
$task = 'Vigie heartbeat'
$here = if ($PSScriptRoot) { $PSScriptRoot } else { (Get-Location -PSProvider FileSystem).ProviderPath }
$state = Join-Path $env:ProgramData 'Vigie'
$store = Join-Path $state 'token.json'
$olderStore = Join-Path $state 'agent.token'
$idFile = Join-Path $state 'enrollment_id'
# The task runs as SYSTEM, so its script is where administrators alone may write.
$installed = Join-Path (Join-Path $env:ProgramFiles 'Vigie') 'vigie.ps1'

# The name that vigie-client and the other installers derive from a host name.
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

function Find-TokenFile {
    if ($TokenFile) { return $TokenFile }
    $local = Join-Path (Get-Location -PSProvider FileSystem).ProviderPath 'enrol.token'
    if (Test-Path -LiteralPath $local) { $local } else { Join-Path $here 'enrol.token' }
}

function Read-EnrolmentToken([string]$File) {
    if (Test-Path -LiteralPath $File) { return (Get-Content -LiteralPath $File -Raw).Trim() }
    $typed = Read-Host -Prompt 'Enrolment token' -AsSecureString
    (New-Object Net.NetworkCredential('', $typed)).Password.Trim()
}

function Send-Call([string]$Path, [string]$Token, [hashtable]$Members, [int]$Seconds) {
    $request = @{
        Method      = 'Post'
        Uri         = "$portal/api/v1/agents/$Path"
        Headers     = @{ Authorization = "Bearer $Token" }
        ContentType = 'application/json; charset=utf-8'
        Body        = [Text.Encoding]::UTF8.GetBytes(($Members | ConvertTo-Json))
        TimeoutSec  = $Seconds
    }
    Invoke-RestMethod @request
}

function Get-Description {
    @{ hostname = [Net.Dns]::GetHostName(); os_info = [Environment]::OSVersion.VersionString }
}

# Any status that is not 2xx lands here; the answer, if there is one, says why.
function Stop-Command([string]$What, $Failure) {
    $reason = $Failure.Exception.Message
    if ($Failure.ErrorDetails -and $Failure.ErrorDetails.Message) {
        try {
            $problem = $Failure.ErrorDetails.Message | ConvertFrom-Json
            if ($problem.code) { $reason = "$($problem.code): $($problem.detail)" }
        } catch { }
    }
    [Console]::Error.WriteLine("${What}: $reason")
    exit 1
}

function Protect-State {
    icacls $state @args | Out-Null
    if ($LASTEXITCODE -ne 0) {
        [Console]::Error.WriteLine("Not enrolled: icacls can't protect $state, status $LASTEXITCODE.")
        exit 1
    }
}

function New-StateFolder {
    New-Item -ItemType Directory -Force -Path $state | Out-Null
    # Any user may create folders in ProgramData, and would then own this one.
    Protect-State /setowner '*S-1-5-32-544'
    Protect-State /reset
    Protect-State /inheritance:r /grant:r '*S-1-5-18:(OI)(CI)F' /grant:r '*S-1-5-32-544:(OI)(CI)F'
    $reader = if ($User) { $User } else { [Security.Principal.WindowsIdentity]::GetCurrent().Name }
    Protect-State /grant "${reader}:(OI)(CI)RX"
}

function Register-Heartbeat {
    New-Item -ItemType Directory -Force -Path (Split-Path $installed) | Out-Null
    if ($PSCommandPath -and $PSCommandPath -ne $installed) { Copy-Item -LiteralPath $PSCommandPath -Destination $installed -Force }
    if (-not (Test-Path -LiteralPath $installed)) {
        Write-Warning 'Heartbeats are not scheduled: save this script as a file and run it from there.'
        return
    }
    $argument = "-NoProfile -NonInteractive -ExecutionPolicy Bypass -File `"$installed`" heartbeat"
    $action = New-ScheduledTaskAction -Execute 'powershell.exe' -Argument $argument
    $offset = Get-Random -Minimum 0 -Maximum {{ seconds }}
    $trigger = New-ScheduledTaskTrigger -Once -At (Get-Date).AddSeconds($offset) -RepetitionInterval (New-TimeSpan -Minutes {{ minutes }})
    $limits = New-ScheduledTaskSettingsSet -StartWhenAvailable -AllowStartIfOnBatteries -DontStopIfGoingOnBatteries -ExecutionTimeLimit (New-TimeSpan -Minutes 2)
    Register-ScheduledTask -TaskName $task -User 'S-1-5-18' -Action $action -Trigger $trigger -Settings $limits -Force | Out-Null
}

function Invoke-Enrolment {
    New-StateFolder
    $answer = $null
    $own = Get-Credentials
    $members = (Get-Description) + @{ user_name = $env:USERNAME }
    if ($own -and $own.api_token) {
        try {
            $answer = Send-Call 'enroll' $own.api_token $members 30
        } catch {
            if (-not $_.Exception.Response -or [int]$_.Exception.Response.StatusCode -notin 401, 403) { Stop-Command 'Not enrolled' $_ }
        }
    }
    $file = Find-TokenFile
    if (-not $answer) {
        # The same id on every attempt: if an answer was lost, the portal then gives the token once more.
        if (-not (Test-Path -LiteralPath $idFile)) {
            [guid]::NewGuid().ToString() | Set-Content -LiteralPath $idFile -Encoding Ascii
        }
        $id = (Get-Content -LiteralPath $idFile -Raw).Trim()
        $name = if ($own -and $own.machine_id) { $own.machine_id } else { Get-MachineName ([Net.Dns]::GetHostName()) }
        if (-not $name) { $name = "machine-$id" }
        try {
            $answer = Send-Call 'enroll' (Read-EnrolmentToken $file) ($members + @{ machine_id = $name; enrollment_id = $id }) 30
        } catch {
            Stop-Command 'Not enrolled' $_
        }
    }
    $kept = @{ machine_id = $answer.machine_id; api_token = $answer.api_token } | ConvertTo-Json -Compress
    # A new file has the rights of the folder; an existing one would keep its own.
    if (Test-Path -LiteralPath $store) { Remove-Item -LiteralPath $store -Force }
    [IO.File]::WriteAllText($store, $kept)
    foreach ($used in $file, $olderStore, $idFile) {
        if (Test-Path -LiteralPath $used) { Remove-Item -LiteralPath $used }
    }
    Register-Heartbeat
    "$($answer.machine_id): $($answer.status)"
}

function Invoke-Heartbeat {
    $own = Get-Credentials
    if (-not $own -or -not $own.api_token) {
        [Console]::Error.WriteLine("Not enrolled: there is no token in $store.")
        exit 1
    }
    try {
        Send-Call 'heartbeat' $own.api_token (Get-Description) 30 | Out-Null
    } catch {
        Stop-Command 'No heartbeat' $_
    }
    'The portal has the heartbeat.'
}

# A portal that is away or refuses never keeps the machine from being uninstalled.
function Invoke-Uninstall {
    $notified = $false
    try {
        $own = Get-Credentials
        if ($own -and $own.api_token) {
            Send-Call 'uninstall' $own.api_token @{ reason = 'uninstalled' } 5 | Out-Null
            $notified = $true
        }
    } catch { }
    try { Unregister-ScheduledTask -TaskName $task -Confirm:$false } catch { }
    foreach ($folder in $state, (Split-Path $installed)) {
        Remove-Item -LiteralPath $folder -Recurse -Force -ErrorAction SilentlyContinue
    }
    if ($notified) { 'Uninstalled.' } else { 'Uninstalled; the portal was not notified.' }
    exit 0
}

switch ($Command) {
    'enrol' { Invoke-Enrolment }
    'heartbeat' { Invoke-Heartbeat }
    'uninstall' { Invoke-Uninstall }
}
{% endautoescape %}
