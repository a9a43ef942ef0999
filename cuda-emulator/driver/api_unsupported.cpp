// Exported functions that PyCUDA's extension links against and the emulator does not have: they answer
// CUDA_ERROR_NOT_SUPPORTED and touch nothing. Their arguments do not matter for that.
#include "api.h"
#include "jit_log.h"

#define KAAS_UNSUPPORTED(name) \
    extern "C" __attribute__((visibility("default"))) int name() { return kaas::not_supported; }

KAAS_UNSUPPORTED(cuArray3DCreate_v2)
KAAS_UNSUPPORTED(cuArray3DGetDescriptor_v2)
KAAS_UNSUPPORTED(cuArrayCreate_v2)
KAAS_UNSUPPORTED(cuArrayDestroy)
KAAS_UNSUPPORTED(cuArrayGetDescriptor_v2)
KAAS_UNSUPPORTED(cuCtxDisablePeerAccess)
KAAS_UNSUPPORTED(cuCtxEnablePeerAccess)
KAAS_UNSUPPORTED(cuFuncSetSharedSize)
KAAS_UNSUPPORTED(cuGetExportTable)
KAAS_UNSUPPORTED(cuIpcCloseMemHandle)
KAAS_UNSUPPORTED(cuIpcGetEventHandle)
KAAS_UNSUPPORTED(cuIpcGetMemHandle)
KAAS_UNSUPPORTED(cuIpcOpenEventHandle)
KAAS_UNSUPPORTED(cuIpcOpenMemHandle_v2)
KAAS_UNSUPPORTED(cuLaunch)
KAAS_UNSUPPORTED(cuLaunchGrid)
KAAS_UNSUPPORTED(cuLaunchGridAsync)
KAAS_UNSUPPORTED(cuLinkAddData_v2)
KAAS_UNSUPPORTED(cuLinkAddFile_v2)
KAAS_UNSUPPORTED(cuLinkComplete)
KAAS_UNSUPPORTED(cuLinkDestroy)
KAAS_UNSUPPORTED(cuMemAllocManaged)
KAAS_UNSUPPORTED(cuMemcpy3DPeer)
KAAS_UNSUPPORTED(cuMemcpy3DPeerAsync)
KAAS_UNSUPPORTED(cuMemcpyAtoA_v2)
KAAS_UNSUPPORTED(cuMemcpyAtoD_v2)
KAAS_UNSUPPORTED(cuMemcpyAtoH_v2)
KAAS_UNSUPPORTED(cuMemcpyDtoA_v2)
KAAS_UNSUPPORTED(cuMemcpyHtoA_v2)
KAAS_UNSUPPORTED(cuMemcpyPeer)
KAAS_UNSUPPORTED(cuMemcpyPeerAsync)
KAAS_UNSUPPORTED(cuModuleGetSurfRef)
KAAS_UNSUPPORTED(cuModuleGetTexRef)
KAAS_UNSUPPORTED(cuParamSetSize)
KAAS_UNSUPPORTED(cuParamSetTexRef)
KAAS_UNSUPPORTED(cuParamSetf)
KAAS_UNSUPPORTED(cuParamSeti)
KAAS_UNSUPPORTED(cuParamSetv)
KAAS_UNSUPPORTED(cuProfilerInitialize)
KAAS_UNSUPPORTED(cuStreamAttachMemAsync)
KAAS_UNSUPPORTED(cuSurfRefGetArray)
KAAS_UNSUPPORTED(cuSurfRefSetArray)
KAAS_UNSUPPORTED(cuTexRefCreate)
KAAS_UNSUPPORTED(cuTexRefDestroy)
KAAS_UNSUPPORTED(cuTexRefGetAddressMode)
KAAS_UNSUPPORTED(cuTexRefGetAddress_v2)
KAAS_UNSUPPORTED(cuTexRefGetArray)
KAAS_UNSUPPORTED(cuTexRefGetFilterMode)
KAAS_UNSUPPORTED(cuTexRefGetFlags)
KAAS_UNSUPPORTED(cuTexRefGetFormat)
KAAS_UNSUPPORTED(cuTexRefSetAddress2D_v3)
KAAS_UNSUPPORTED(cuTexRefSetAddressMode)
KAAS_UNSUPPORTED(cuTexRefSetAddress_v2)
KAAS_UNSUPPORTED(cuTexRefSetArray)
KAAS_UNSUPPORTED(cuTexRefSetFilterMode)
KAAS_UNSUPPORTED(cuTexRefSetFlags)
KAAS_UNSUPPORTED(cuTexRefSetFormat)

// Its caller reads the logs whatever it answers.
KAAS_EXPORT cuLinkCreate_v2(unsigned option_count, const int* options, void** values, void**) {
    kaas::JitLog(option_count, options, values)
        .explain("The emulated device has no linker: it runs only images that its own compiler made of one source.");
    return kaas::not_supported;
}
