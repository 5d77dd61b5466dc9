"""The science: arrays and files in, arrays and files out. No Flask, no database, no Redis, no os.environ.

Array names end in their axes: N images, C channels, H height, W width, K classes, V views of one image
(`batch_NCHW`, `logits_NK`). Pixels are uint8 in [0, 255] until the network's first layer,
which divides by 255 and normalises; a probability is in [0, 1].

Two halves. Torch belongs to the workers: augmentation, checkpoint, device, efficientnet, export, fast_network, halves,
inputs, loader, mixing, networks, optimization, peers, rate_finder, release, run, sanity, served, share, tensorfile,
torchvision_cpu, training, weights. Everything else is free of it, so that the web process may import it; a test holds
the line.
"""
