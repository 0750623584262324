"""`python3 -m sluice profile PROGRAM`: where the steps of a program spend their time. See README.md."""
