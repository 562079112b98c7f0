"""The commands of `nlc`, a file each: arguments in, printed text and an exit status out."""
