// CUDA's cooperative groups.
#pragma once

#include "../kaas_device/groups.h"
