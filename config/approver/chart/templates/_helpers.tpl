{{- define "nodecertd-approver.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "nodecertd-approver.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "nodecertd-approver.selectorLabels" -}}
app.kubernetes.io/name: {{ include "nodecertd-approver.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "nodecertd-approver.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "nodecertd-approver.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "nodecertd-approver.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "nodecertd-approver.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "nodecertd-approver.subjects" -}}
subjects:
  - kind: ServiceAccount
    name: {{ include "nodecertd-approver.serviceAccountName" . }}
    namespace: {{ .Release.Namespace }}
{{- end }}

{{/* The address for --metrics-address, with an IPv6 address in brackets. */}}
{{- define "nodecertd-approver.metricsAddress" -}}
{{- if contains ":" .Values.metrics.host -}}
{{ printf "[%s]:%d" .Values.metrics.host (int .Values.metrics.port) }}
{{- else -}}
{{ printf "%s:%d" .Values.metrics.host (int .Values.metrics.port) }}
{{- end }}
{{- end }}

{{/* The policy and the values name the same files, or the approver would not start. */}}
{{- define "nodecertd-approver.checkSources" -}}
{{- $sources := .Values.policy.sources | default dict }}
{{- $inventory := dig "inventory" "file" "" $sources }}
{{- if and $inventory (not .Values.inventory) }}
{{- fail (printf "policy.sources.inventory.file is %s, but inventory is empty" $inventory) }}
{{- end }}
{{- if and $inventory (not (has $inventory (list "inventory.yaml" "/etc/nodecertd/inventory.yaml"))) }}
{{- fail (printf "policy.sources.inventory.file is %s: set it to inventory.yaml" $inventory) }}
{{- end }}
{{- if and .Values.inventory (not $inventory) }}
{{- fail "inventory is set, but policy.sources.inventory.file is not: set it to inventory.yaml" }}
{{- end }}
{{- $kubeconfig := dig "machine" "kubeconfig" "" $sources }}
{{- if and $kubeconfig (not .Values.managementKubeconfig.secretName) }}
{{- fail (printf "policy.sources.machine.kubeconfig is %s, but managementKubeconfig.secretName is empty" $kubeconfig) }}
{{- end }}
{{- if and $kubeconfig (not (has $kubeconfig (list "management.conf" "/etc/nodecertd/management.conf"))) }}
{{- fail (printf "policy.sources.machine.kubeconfig is %s: set it to management.conf" $kubeconfig) }}
{{- end }}
{{- if and .Values.managementKubeconfig.secretName (not $kubeconfig) }}
{{- fail "managementKubeconfig.secretName is set, but policy.sources.machine.kubeconfig is not: set it to management.conf" }}
{{- end }}
{{- end }}
