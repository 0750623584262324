"""`python3 -m sluice bisect PROGRAM`: which of the compiler's passes changes what a program computes. See README.md."""
