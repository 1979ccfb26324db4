"""Who asks: the strategies, which decide what masks to judge next."""
