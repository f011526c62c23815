{{- /* Rows of a month that are not to go. */ -}}
SELECT count() FROM {{.Table}} WHERE {{put .Partition}} = {{arg .Month}} AND NOT ({{put .Due}}{{if .Without}} AND batch_id NOT IN {{put .Without}}{{end}})
