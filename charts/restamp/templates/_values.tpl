{{/* How many letters have to be added, removed or changed to get from one word to the other; of a list of two. */}}
{{- define "restamp.distance" -}}
{{- $to := splitList "" (index . 1 | lower) -}}
{{- $row := untilStep 0 (len $to | add1 | int) 1 -}}
{{- range $i, $letter := splitList "" (index . 0 | lower) -}}
{{- $next := list (add1 $i) -}}
{{- range $j, $other := $to -}}
{{- $next = append $next (min (index $row (add1 $j) | add1) (last $next | add1) (add (index $row $j) (eq $letter $other | ternary 0 1))) -}}
{{- end -}}
{{- $row = $next -}}
{{- end -}}
{{- last $row -}}
{{- end -}}

{{/* Which of the known names is meant. Of a dict: name, known. */}}
{{- define "restamp.meant" -}}
{{- $best := "" -}}
{{- $least := max 2 (div (len .name) 3) | add1 -}}
{{- range $known := .known -}}
{{- $distance := include "restamp.distance" (list $.name $known) | int -}}
{{- if lt $distance (int $least) -}}
{{- $least = $distance -}}
{{- $best = $known -}}
{{- end -}}
{{- end -}}
{{- $best -}}
{{- end -}}

{{/* What is wrong with the names of values, a line each. Of a dict: values, schema, path. */}}
{{- define "restamp.unknown" -}}
{{- $properties := .schema.properties -}}
{{- if and $properties (kindIs "map" .values) -}}
{{- range $name, $value := .values -}}
{{- $path := append $.path $name -}}
{{- $known := index $properties $name -}}
{{- if $known -}}
{{- include "restamp.unknown" (dict "values" $value "schema" $known "path" $path) -}}
{{- else if not $.schema.additionalProperties -}}
{{- $meant := include "restamp.meant" (dict "name" $name "known" (keys $properties | sortAlpha)) -}}
{{- printf "unknown value %s: %s\n" (join "." $path) ($meant | empty | ternary (printf "there are %s" (keys $properties | sortAlpha | join ", ")) (printf "did you mean %s?" $meant)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
Gives back its defaults to what YAML writers left empty, which Helm takes away as a whole; a single list or map may be taken away.
Of a dict: values, schema, and whether to give them to all.
*/}}
{{- define "restamp.complete" -}}
{{- range $name, $known := .schema.properties -}}
{{- if or (eq $name "replicas") (not $.schema.inherits) -}}
{{- if $known.properties -}}
{{- $isThere := kindIs "map" (index $.values $name) -}}
{{- if not $isThere }}{{ $_ := set $.values $name dict }}{{ end -}}
{{- include "restamp.complete" (dict "values" (index $.values $name) "schema" $known "all" (or $.all (not $isThere))) -}}
{{- else if or $.all (and (kindIs "invalid" (index $.values $name)) (not (kindIs "slice" $known.default)) (not (kindIs "map" $known.default))) -}}
{{- $_ := set $.values $name $known.default -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* To begin every file with, since none is known to be rendered first. */}}
{{- define "restamp.values" -}}
{{- include "restamp.complete" (dict "values" .Values.AsMap "schema" (.Files.Get "schema.yaml" | fromYaml)) -}}
{{- end -}}

{{/* Which values were given and change nothing, a line each. Of a dict: values, schema, path, and why all of them do not. */}}
{{- define "restamp.withoutEffect" -}}
{{- $why := .schema.withoutEffect | default .why -}}
{{- if and $why (not .schema.properties) (not (empty .values)) (ne (toJson .values) (toJson .schema.default)) -}}
{{- printf "- %s has no effect: %s.\n" (join "." .path) $why -}}
{{- end -}}
{{- if and .schema.properties (kindIs "map" .values) -}}
{{- range $name, $value := .values -}}
{{- with index $.schema.properties $name -}}
{{- include "restamp.withoutEffect" (dict "values" $value "schema" . "path" (append $.path $name) "why" $why) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
