"""The programs: each module has `work(data)`, which takes the folder of its input, does all there is to do and returns
a short text about its result, the same in every environment. What it imports is loaded before the clock starts.
"""
