// All of CUDA's device language is there already: kaas_device.h is included before every source.
