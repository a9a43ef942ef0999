// CUDA's scans of cooperative groups.
#pragma once

#include "../../kaas_device/groups_collect.h"
