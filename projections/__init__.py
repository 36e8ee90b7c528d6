"""What is remembered: tables, ledger rows, keep (keys, accounts, accesses), views, rebuild, as-of."""
