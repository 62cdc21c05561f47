{{/* The names in a list, or in a text with commas; JSON. */}}
{{- define "restamp.names" -}}
{{- $names := list -}}
{{- range (kindIs "string" . | ternary (splitList "," (toString .)) (. | default list)) -}}
{{- with trim (toString .) -}}
{{- $names = append $names . -}}
{{- end -}}
{{- end -}}
{{- $names | uniq | sortAlpha | toJson -}}
{{- end -}}

{{/* The namespaces that are followed by name, ours among them, as in Reloader's chart; JSON, empty for all. */}}
{{- define "restamp.namespaces" -}}
{{- if .Values.reloader.watchGlobally -}}
[]
{{- else -}}
{{- $named := include "restamp.names" .Values.reloader.namespaces | fromJsonArray -}}
{{- append $named (include "restamp.namespace" .) | uniq | sortAlpha | toJson -}}
{{- end -}}
{{- end -}}

{{/* What both processes are told, and `explain` is to be; JSON. */}}
{{- define "restamp.policyFlags" -}}
{{- $reloader := .Values.reloader -}}
{{- $flags := list -}}
{{- if $reloader.autoReloadAll }}{{ $flags = append $flags "--auto-reload-all=true" }}{{ end -}}
{{- if $reloader.ignoreSecrets }}{{ $flags = append $flags "--resources-to-ignore=secrets" }}{{ end -}}
{{- if $reloader.ignoreConfigMaps }}{{ $flags = append $flags "--resources-to-ignore=configmaps" }}{{ end -}}
{{- if $reloader.ignoreJobs }}{{ $flags = append $flags "--ignored-workload-types=jobs" }}{{ end -}}
{{- if $reloader.ignoreCronJobs }}{{ $flags = append $flags "--ignored-workload-types=cronjobs" }}{{ end -}}
{{- if $reloader.reloadOnCreate }}{{ $flags = append $flags "--reload-on-create=true" }}{{ end -}}
{{- if $reloader.reloadOnDelete }}{{ $flags = append $flags "--reload-on-delete=true" }}{{ end -}}
{{- if ne ($reloader.reloadStrategy | default "default") "default" }}{{ $flags = append $flags (printf "--reload-strategy=%s" $reloader.reloadStrategy) }}{{ end -}}
{{- with include "restamp.namespaces" . | fromJsonArray }}{{ $flags = append $flags (printf "--namespaces=%s" (join "," .)) }}{{ end -}}
{{- if $reloader.watchGlobally -}}
{{- with include "restamp.names" $reloader.ignoreNamespaces | fromJsonArray }}{{ $flags = append $flags (printf "--namespaces-to-ignore=%s" (join "," .)) }}{{ end -}}
{{- with $reloader.namespaceSelector }}{{ $flags = append $flags (printf "--namespace-selector=%s" .) }}{{ end -}}
{{- end -}}
{{- with $reloader.resourceLabelSelector }}{{ $flags = append $flags (printf "--resource-label-selector=%s" .) }}{{ end -}}
{{- if eq (toString .Values.watcher.runCronJobsOnChange) "false" }}{{ $flags = append $flags "--run-cronjobs-on-change=false" }}{{ end -}}
{{- range .Values.watcher.workloadKinds }}{{ $flags = append $flags (printf "--workload-kind=%s" .) }}{{ end -}}
{{- $names := $reloader.custom_annotations | default dict -}}
{{- range $value, $flag := include "restamp.annotationFlags" . | fromYaml -}}
{{- with index $names $value }}{{ $flags = append $flags (printf "--%s-annotation=%s" $flag .) }}{{ end -}}
{{- end -}}
{{- $flags | toJson -}}
{{- end -}}

{{/* Values of `custom_annotations`, and what their flags are called. */}}
{{- define "restamp.annotationFlags" -}}
auto: auto
configmap_auto: configmap-auto
secret_auto: secret-auto
configmap: configmap
secret: secret
search: auto-search
match: search-match
ignore: ignore
pausePeriod: pause-deployment
pauseTime: pause-deployment-time
{{- end -}}

{{- define "restamp.watcherArgs" -}}
{{- $args := concat (list "watcher") (include "restamp.policyFlags" . | fromJsonArray) -}}
{{- with .Values.watcher.settle }}{{ $args = append $args (printf "--settle=%s" .) }}{{ end -}}
{{- with .Values.reloader.webhookUrl }}{{ $args = append $args (printf "--webhook-url=%s" .) }}{{ end -}}
{{- $args | toJson -}}
{{- end -}}

{{- define "restamp.webhookArgs" -}}
{{- concat (list "webhook") (include "restamp.policyFlags" . | fromJsonArray) | toJson -}}
{{- end -}}
