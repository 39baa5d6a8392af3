"""Networks of other packages, built at our sizes; one a file, imported only when named."""
