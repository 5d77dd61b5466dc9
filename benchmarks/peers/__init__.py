"""Other servers with the same model, each as its own documents advise, in an environment of its own.

All of them, and the loop that is the limit, call `Scorer`: the platform's own decoder, and ONNX Runtime on one thread.
"""
