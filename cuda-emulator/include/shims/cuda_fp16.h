// CUDA's half precision.
#pragma once

#include "../kaas_device/half_arithmetic.h"
