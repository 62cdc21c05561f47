{{/* The kinds of `watcher.workloadKinds`: group, version, plural, and the path of the template; JSON. */}}
{{- define "restamp.moreKinds" -}}
{{- $kinds := list -}}
{{- range .Values.watcher.workloadKinds -}}
{{- $halves := splitn "=" 2 . -}}
{{- $parts := splitList "/" $halves._0 -}}
{{- $kinds = append $kinds (dict "group" (index $parts 0) "version" (index $parts 1) "plural" (index $parts 2) "path" $halves._1) -}}
{{- end -}}
{{- $kinds | toJson -}}
{{- end -}}

{{/* The sources that are followed; JSON. */}}
{{- define "restamp.sources" -}}
{{- $sources := list -}}
{{- if not .Values.reloader.ignoreConfigMaps }}{{ $sources = append $sources "configmaps" }}{{ end -}}
{{- if not .Values.reloader.ignoreSecrets }}{{ $sources = append $sources "secrets" }}{{ end -}}
{{- $sources | toJson -}}
{{- end -}}

{{/* Whether sources and workloads are those of namespaces that are named, with Roles in each. */}}
{{- define "restamp.isNamespaced" -}}
{{- if not .Values.reloader.watchGlobally }}true{{ end -}}
{{- end -}}

{{/* What the watcher does in a namespace that it follows. */}}
{{- define "restamp.watcherRules" -}}
{{- $reloader := .Values.reloader -}}
- apiGroups: [""]
  resources: {{ include "restamp.sources" . }}
  verbs: [get, list, watch]
- apiGroups: [secrets-store.csi.x-k8s.io]
  resources: [secretproviderclasses, secretproviderclasspodstatuses]
  verbs: [list, watch]
{{- if not $reloader.webhookUrl }}
- apiGroups: [apps]
  resources: [deployments, statefulsets, daemonsets]
  verbs: [get, list, watch, patch]
{{- if not $reloader.ignoreCronJobs }}
- apiGroups: [batch]
  resources: [cronjobs]
  verbs: [get, list, watch, patch]
{{- end }}
{{- if not $reloader.ignoreJobs }}
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, patch, create, delete]
{{- else if not (or $reloader.ignoreCronJobs (eq (toString .Values.watcher.runCronJobsOnChange) "false")) }}
- apiGroups: [batch]
  resources: [jobs]
  verbs: [create]
{{- end }}
- apiGroups: [argoproj.io]
  resources: [rollouts]
  verbs: [get, list, watch, patch]
- apiGroups: [apps.openshift.io]
  resources: [deploymentconfigs]
  verbs: [get, list, watch, patch]
{{- range include "restamp.moreKinds" . | fromJsonArray }}
- apiGroups: [{{ .group | quote }}]
  resources: [{{ .plural | quote }}]
  verbs: [get, list, watch, patch]
{{- end }}
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- end }}
{{- end -}}

{{/* What the watcher does in its own namespace: make the key, write down Jobs that it makes again, hold its Lease. */}}
{{- define "restamp.homeRules" -}}
{{- if not .Values.reloader.webhookUrl }}
- apiGroups: [""]
  resources: [secrets]
  verbs: {{ .Values.reloader.ignoreJobs | ternary "[create]" "[create, list, delete]" }}
{{- end }}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [restamp-watcher]
  verbs: [get, update]
{{- if .Values.watcher.metaInfo }}
- apiGroups: [""]
  resources: [configmaps]
  verbs: [create]
- apiGroups: [""]
  resources: [configmaps]
  resourceNames: [reloader-meta-info]
  verbs: [patch]
{{- end }}
{{- end -}}

{{/* What the webhook does in a namespace that is followed. */}}
{{- define "restamp.webhookRules" -}}
- apiGroups: [""]
  resources: {{ include "restamp.sources" . }}
  verbs: [get]
{{- end -}}

{{/*
A role and its binding. Of a dict: root, name, rules (YAML), accounts (a list), component, and namespace, or nothing for the
cluster.
*/}}
{{- define "restamp.role" -}}
{{- $kind := .namespace | empty | ternary "ClusterRole" "Role" -}}
{{- $of := dict "root" .root "name" .name "component" .component "namespace" .namespace "cluster" (empty .namespace) "labels" .root.Values.reloader.rbac.labels "annotations" .annotations -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}
{{ include "restamp.metadata" $of }}
rules:
  {{- trim .rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}Binding
{{ include "restamp.metadata" $of }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ $kind }}
  name: {{ .name | quote }}
subjects:
  {{- range .accounts }}
  - kind: ServiceAccount
    name: {{ . | quote }}
    namespace: {{ include "restamp.namespace" $.root | quote }}
  {{- end }}
{{- end -}}
