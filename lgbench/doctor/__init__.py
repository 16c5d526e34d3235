"""Does a model honour the contract, and how long would a suite take?"""
