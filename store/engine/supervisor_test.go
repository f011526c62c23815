package engine

func parentMain(dir string) int { return 0 }
