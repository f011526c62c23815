ALTER TABLE {{.Table}} DELETE WHERE {{put .Which}}
