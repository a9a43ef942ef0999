// For NVRTC, which has none of the C library's headers: malloc and free are built in.
#pragma once
