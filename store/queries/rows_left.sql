SELECT count() FROM {{.Table}} WHERE {{put .Which}}
