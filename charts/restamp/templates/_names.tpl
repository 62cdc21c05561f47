{{/* The beginning of every name. */}}
{{- define "restamp.fullname" -}}
{{- $name := .Values.nameOverride | default .Chart.Name -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "restamp.namespace" -}}
{{- .Values.namespace | default .Release.Namespace -}}
{{- end -}}

{{/* What pods are selected by. Names may look like numbers, so they are quoted. Of a dict: root, component. */}}
{{- define "restamp.selectorLabels" -}}
app.kubernetes.io/name: {{ .root.Values.nameOverride | default .root.Chart.Name | quote }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end -}}

{{/* Of a dict: root, component, and labels to add. They go before ours, but for those that are selected by. */}}
{{- define "restamp.labels" -}}
{{- $ours := dict
  "app.kubernetes.io/part-of" "restamp"
  "app.kubernetes.io/version" .root.Chart.AppVersion
  "app.kubernetes.io/managed-by" .root.Release.Service
  "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_")
-}}
{{- merge (include "restamp.selectorLabels" . | fromYaml) (.labels | default dict) $ours | toYaml -}}
{{- end -}}

{{/* The metadata of an object. Of a dict: root, name, and component, labels, annotations, cluster (in no namespace). */}}
{{- define "restamp.metadata" -}}
metadata:
  name: {{ .name | quote }}
  {{- if not .cluster }}
  namespace: {{ .namespace | default (include "restamp.namespace" .root) | quote }}
  {{- end }}
  labels:
    {{- include "restamp.labels" . | nindent 4 }}
  {{- with .annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{- define "restamp.watcher" -}}
{{- printf "%s-watcher" (include "restamp.fullname" .) -}}
{{- end -}}

{{- define "restamp.webhook" -}}
{{- printf "%s-webhook" (include "restamp.fullname" .) -}}
{{- end -}}

{{/* Of a dict: root, component, account (its values). */}}
{{- define "restamp.accountName" -}}
{{- $account := .account | default dict -}}
{{- if $account.name -}}
{{- $account.name -}}
{{- else if eq $account.create false -}}
default
{{- else -}}
{{- printf "%s-%s" (include "restamp.fullname" .root) .component -}}
{{- end -}}
{{- end -}}

{{- define "restamp.watcherAccount" -}}
{{- include "restamp.accountName" (dict "root" . "component" "watcher" "account" .Values.reloader.serviceAccount) -}}
{{- end -}}

{{- define "restamp.webhookAccount" -}}
{{- include "restamp.accountName" (dict "root" . "component" "webhook" "account" .Values.webhook.serviceAccount) -}}
{{- end -}}

{{- define "restamp.certSecret" -}}
{{- .Values.certificates.secretName | default (printf "%s-tls" (include "restamp.webhook" .)) -}}
{{- end -}}

{{/* Whether a namespace is followed in which the webhook works: it leaves its own alone. */}}
{{- define "restamp.hasReviewed" -}}
{{- $named := include "restamp.namespaces" . | fromJsonArray -}}
{{- if or (empty $named) (without $named (include "restamp.namespace" .)) }}true{{ end -}}
{{- end -}}

{{/* Whether there is a webhook: where nothing is restarted, nothing is stamped. */}}
{{- define "restamp.hasWebhook" -}}
{{- if and .Values.webhook.enabled (not .Values.reloader.webhookUrl) (include "restamp.hasReviewed" .) }}true{{ end -}}
{{- end -}}

{{/*
The PriorityClass that the chart makes, where it makes objects of the cluster anyway; nothing where there is another. Kubernetes
keeps names with `system-` for itself.
*/}}
{{- define "restamp.ownPriorityClass" -}}
{{- if and (include "restamp.hasWebhook" .) (not .Values.reloader.deployment.priorityClassName) -}}
{{- $fullname := include "restamp.fullname" . -}}
{{- hasPrefix "system-" $fullname | ternary (printf "restamp-%s" $fullname) $fullname -}}
{{- end -}}
{{- end -}}

{{/* The labels of a namespace that goes through the webhook; JSON. */}}
{{- define "restamp.reviewedLabels" -}}
{{- $selector := .Values.webhook.namespaceSelector -}}
{{- $labels := deepCopy ($selector.matchLabels | default dict) -}}
{{- range $selector.matchExpressions -}}
{{- if eq .operator "In" }}{{ $_ := set $labels .key (first .values) }}{{ end -}}
{{- if eq .operator "Exists" }}{{ $_ := set $labels .key "" }}{{ end -}}
{{- end -}}
{{- $labels | toJson -}}
{{- end -}}

{{/* The image that was made for this chart. */}}
{{- define "restamp.ownImage" -}}
{{- (index .Chart.Annotations "artifacthub.io/images" | fromYamlArray | first).image -}}
{{- end -}}

{{/* Whether the values name an image of Reloader's: by its name, or by a tag with a `v`, which ours have not. */}}
{{- define "restamp.isReloadersImage" -}}
{{- $names := list .Values.image.repository .Values.image.name -}}
{{- $name := empty .Values.global.imageRegistry | ternary $names (reverse $names) | compact | first | default "" -}}
{{- if or (regexMatch "reloader[^/]*$" $name) (and (empty $name) (regexMatch "^v[0-9]" (.Values.image.tag | toString))) }}true{{ end -}}
{{- end -}}

{{/* The chart's own is run by its digest; of a copy in another registry only the tag is known to be the same. */}}
{{- define "restamp.image" -}}
{{- $own := include "restamp.ownImage" . -}}
{{- $tagged := regexReplaceAll "@.*$" $own "" -}}
{{- $image := include "restamp.isReloadersImage" . | empty | ternary .Values.image dict -}}
{{- $name := $image.repository | default (regexReplaceAll ":[^:/]*$" $tagged "") -}}
{{- with .Values.global.imageRegistry -}}
{{- $name = printf "%s/%s" . ($image.name | default (regexReplaceAll "^[^/]*[.:][^/]*/|:[^:/]*$" $tagged "")) -}}
{{- end -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $name $image.digest -}}
{{- else -}}
{{- $chosen := printf "%s:%s" $name ($image.tag | default (regexFind "[^:/]*$" $tagged) | toString) -}}
{{- eq $chosen $tagged | ternary $own $chosen -}}
{{- end -}}
{{- end -}}

{{/* Names or objects with `name`, as pods want them. */}}
{{- define "restamp.pullSecrets" -}}
{{- range . }}
- name: {{ if kindIs "map" . }}{{ .name | quote }}{{ else }}{{ . | quote }}{{ end }}
{{- end }}
{{- end -}}
