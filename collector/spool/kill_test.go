package spool

func child(dir string) {}
