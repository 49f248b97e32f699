"""What a site must do for hpcdl, tried by a handful of tiny jobs: one table, one page, advice."""
