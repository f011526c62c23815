ALTER TABLE {{.Table}} DELETE WHERE {{put .Partition}} = {{arg .Month}} AND {{put .Due}}{{if .Without}} AND batch_id NOT IN {{put .Without}}{{end}}
