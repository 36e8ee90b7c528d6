"""What it means, pure: identifiers, matching, the child fold, risk, deadlines, sharing. Imports the standard library only."""
