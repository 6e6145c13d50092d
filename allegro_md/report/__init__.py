"""The report of a run: one page that needs no network, written afterwards or served while the run goes on."""
