//! The nouns of the image spec: digest, descriptor, manifest, index, image config, reference, platform.
