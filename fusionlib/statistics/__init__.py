"""What methods must find out before they can merge, one file a statistic."""
