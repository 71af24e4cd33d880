"""Made-up towns: the demo data set. Run: python -m datasets.demo."""
