"""The templates of what KWOK writes: Go templates that give YAML.

A template sees the object as it is, and its result is merged into the object's status (or applied, for a
volume). A pod is judged container by container, as a kubelet does: an init container that fails holds what
comes after it, and only what fails is not ready.
"""

from __future__ import annotations

PROVISIONER = "axletree.dev/local"

NODE_STATUS = """
{{ $now := Now }}
phase: Running
conditions:
{{ range NodeConditions }}
- type: {{ .type | Quote }}
  status: {{ .status | Quote }}
  reason: {{ .reason | Quote }}
  message: {{ .message | Quote }}
  lastHeartbeatTime: {{ $now | Quote }}
  lastTransitionTime: {{ $now | Quote }}
{{ end }}
"""

_POD_HEAD = """
{{ $now := Now }}
{{ $since := or .status.startTime $now }}
{{ $never := eq .spec.restartPolicy "Never" }}
{{ $failed := false }}
{{ $pulling := false }}
{{ $held := "" }}
{{ $unready := list }}
{{ $restarts := dict }}
{{ range .status.initContainerStatuses }}{{ $_ := set $restarts .name (int .restartCount) }}{{ end }}
{{ range .status.containerStatuses }}{{ $_ := set $restarts .name (int .restartCount) }}{{ end }}
startTime: {{ $since | Quote }}
"""

_CONTAINERS = """
STATUSES:
{{ range .spec.CONTAINERS }}
{{ $count := default 0 (get $restarts .name) }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  imageID: ""
  {{ if $held }}
  {{ $unready = append $unready .name }}
  ready: false
  restartCount: {{ $count }}
  state: {waiting: {reason: PodInitializing}}
  {{ else if hasSuffix ":broken" .image }}
  {{ $unready = append $unready .name }}
  {{ $pulling = true }}
  ready: false
  started: false
  restartCount: {{ $count }}
  state:
    waiting:
      reason: ImagePullBackOff
      message: {{ printf "Back-off pulling image %q: not found" .image | Quote }}
  {{ else if hasSuffix ":crashloop" .image }}
  {{ $unready = append $unready .name }}
  {{ $ended := dict "exitCode" 1 "reason" "Error" "startedAt" $now "finishedAt" $now }}
  ready: false
  started: false
  {{ if $never }}
  {{ $failed = true }}
  restartCount: {{ $count }}
  state: {terminated: {{ $ended | toJson }}}
  {{ else }}
  restartCount: {{ add $count 1 }}
  state:
    waiting:
      reason: CrashLoopBackOff
      message: {{ printf "back-off 20s restarting failed container=%s" .name | Quote }}
  lastState: {terminated: {{ $ended | toJson }}}
  {{ end }}
  {{ else if RUNS }}
  ready: true
  started: true
  restartCount: {{ $count }}
  state: {running: {startedAt: {{ $since | Quote }}}}
  {{ else }}
  ready: true
  started: false
  restartCount: {{ $count }}
  state:
    terminated:
      exitCode: 0
      reason: Completed
      startedAt: {{ $since | Quote }}
      finishedAt: {{ $since | Quote }}
  {{ end }}
  HOLDS
{{ end }}
"""

_POD_TAIL = """
{{ $why := printf "containers with unready status: [%s]" (join " " $unready) }}
conditions:
- type: Initialized
  status: {{ ternary "False" "True" (ne $held "") | Quote }}
  lastTransitionTime: {{ $since | Quote }}
{{ range list "ContainersReady" "Ready" }}
- type: {{ . }}
  lastTransitionTime: {{ $since | Quote }}
  {{ if $unready }}
  status: "False"
  reason: ContainersNotReady
  message: {{ $why | Quote }}
  {{ else }}
  status: "True"
  {{ end }}
{{ end }}
{{ range .spec.readinessGates }}
- {type: {{ .conditionType | Quote }}, status: "True", lastTransitionTime: {{ $since | Quote }}}
{{ end }}
{{ if $failed }}
phase: Failed
{{ else if or $pulling $held }}
phase: Pending
{{ else }}
phase: Running
{{ end }}
{{ if not .status.podIP }}
{{ with NodeIPsWith .spec.nodeName }}
hostIP: {{ index . 0 | Quote }}
hostIPs: [{ip: {{ index . 0 | Quote }}}]
{{ end }}
{{ $host := or .spec.hostNetwork false }}
{{ with PodIPsWith .spec.nodeName $host .metadata.uid .metadata.name .metadata.namespace }}
podIP: {{ index . 0 | Quote }}
podIPs: [{ip: {{ index . 0 | Quote }}}]
{{ end }}
{{ end }}
"""


def _containers(containers: str, statuses: str, *, runs: str, holds: str) -> str:
    parts = {"CONTAINERS": containers, "STATUSES": statuses, "RUNS": runs, "HOLDS": holds}
    text = _CONTAINERS
    for word, value in parts.items():
        text = text.replace(word, value)
    return text


POD_STATUS = (
    _POD_HEAD
    + _containers(
        "initContainers",
        "initContainerStatuses",
        runs='(eq (default "" .restartPolicy) "Always")',
        holds="{{ if $unready }}{{ $held = .name }}{{ end }}",
    )
    + _containers("containers", "containerStatuses", runs="true", holds="")
    + _POD_TAIL
)

POD_SUCCEEDED = """
{{ $now := Now }}
containerStatuses:
{{ range .status.containerStatuses }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  imageID: ""
  ready: false
  started: false
  restartCount: {{ int .restartCount }}
  state:
    running: null
    terminated:
      exitCode: 0
      reason: Completed
      startedAt: {{ $now | Quote }}
      finishedAt: {{ $now | Quote }}
{{ end }}
conditions:
{{ range list "ContainersReady" "Ready" }}
- {type: {{ . }}, status: "False", reason: PodCompleted, lastTransitionTime: {{ $now | Quote }}}
{{ end }}
phase: Succeeded
"""

VOLUME = """
apiVersion: v1
kind: PersistentVolume
metadata:
  name: pvc-{{ .metadata.uid }}
  annotations: {pv.kubernetes.io/provisioned-by: PROVISIONER}
spec:
  accessModes: {{ .spec.accessModes | toJson }}
  capacity: {storage: {{ .spec.resources.requests.storage | Quote }}}
  persistentVolumeReclaimPolicy: Delete
  storageClassName: {{ .spec.storageClassName | Quote }}
  volumeMode: {{ default "Filesystem" .spec.volumeMode }}
  claimRef:
    apiVersion: v1
    kind: PersistentVolumeClaim
    namespace: {{ .metadata.namespace | Quote }}
    name: {{ .metadata.name | Quote }}
    uid: {{ .metadata.uid | Quote }}
  hostPath: {path: /nowhere/{{ .metadata.uid }}}
""".replace("PROVISIONER", PROVISIONER)
