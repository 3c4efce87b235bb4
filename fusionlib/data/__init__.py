"""Pictures and their annotations: label spaces, one file per dataset, specs such as `camvid:DIR@val`."""
