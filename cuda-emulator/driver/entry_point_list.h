// What the driver answers when it is asked for its functions by name and version. X(name, since, function): from CUDA
// version `since` on, 1000 * major + 10 * minor, `name` means this exported function, until a later one takes over.
// A symbol without a row for its first version is one whose first version had another binary interface.
#pragma once

#define KAAS_ENTRY_POINTS(X) \
    X(cuCtxAttach, 2000, cuCtxAttach) \
    X(cuCtxCreate, 3020, cuCtxCreate_v2) \
    X(cuCtxDestroy, 4000, cuCtxDestroy_v2) \
    X(cuCtxDetach, 2000, cuCtxDetach) \
    X(cuCtxGetApiVersion, 3020, cuCtxGetApiVersion) \
    X(cuCtxGetCacheConfig, 3020, cuCtxGetCacheConfig) \
    X(cuCtxGetCurrent, 4000, cuCtxGetCurrent) \
    X(cuCtxGetDevice, 2000, cuCtxGetDevice) \
    X(cuCtxGetFlags, 7000, cuCtxGetFlags) \
    X(cuCtxGetLimit, 3010, cuCtxGetLimit) \
    X(cuCtxGetSharedMemConfig, 4020, cuCtxGetSharedMemConfig) \
    X(cuCtxGetStreamPriorityRange, 5050, cuCtxGetStreamPriorityRange) \
    X(cuCtxPopCurrent, 4000, cuCtxPopCurrent_v2) \
    X(cuCtxPushCurrent, 4000, cuCtxPushCurrent_v2) \
    X(cuCtxSetCacheConfig, 3020, cuCtxSetCacheConfig) \
    X(cuCtxSetCurrent, 4000, cuCtxSetCurrent) \
    X(cuCtxSetLimit, 3010, cuCtxSetLimit) \
    X(cuCtxSetSharedMemConfig, 4020, cuCtxSetSharedMemConfig) \
    X(cuCtxSynchronize, 2000, cuCtxSynchronize) \
    X(cuDeviceCanAccessPeer, 4000, cuDeviceCanAccessPeer) \
    X(cuDeviceComputeCapability, 2000, cuDeviceComputeCapability) \
    X(cuDeviceGet, 2000, cuDeviceGet) \
    X(cuDeviceGetAttribute, 2000, cuDeviceGetAttribute) \
    X(cuDeviceGetByPCIBusId, 4010, cuDeviceGetByPCIBusId) \
    X(cuDeviceGetCount, 2000, cuDeviceGetCount) \
    X(cuDeviceGetName, 2000, cuDeviceGetName) \
    X(cuDeviceGetPCIBusId, 4010, cuDeviceGetPCIBusId) \
    X(cuDeviceGetUuid, 9020, cuDeviceGetUuid) \
    X(cuDeviceGetUuid, 11040, cuDeviceGetUuid_v2) \
    X(cuDevicePrimaryCtxGetState, 7000, cuDevicePrimaryCtxGetState) \
    X(cuDevicePrimaryCtxRelease, 11000, cuDevicePrimaryCtxRelease_v2) \
    X(cuDevicePrimaryCtxReset, 11000, cuDevicePrimaryCtxReset_v2) \
    X(cuDevicePrimaryCtxRetain, 7000, cuDevicePrimaryCtxRetain) \
    X(cuDevicePrimaryCtxSetFlags, 11000, cuDevicePrimaryCtxSetFlags_v2) \
    X(cuDeviceTotalMem, 3020, cuDeviceTotalMem_v2) \
    X(cuDriverGetVersion, 2020, cuDriverGetVersion) \
    X(cuEventCreate, 2000, cuEventCreate) \
    X(cuEventDestroy, 4000, cuEventDestroy_v2) \
    X(cuEventElapsedTime, 2000, cuEventElapsedTime) \
    X(cuEventQuery, 2000, cuEventQuery) \
    X(cuEventRecord, 2000, cuEventRecord) \
    X(cuEventRecordWithFlags, 11010, cuEventRecordWithFlags) \
    X(cuEventSynchronize, 2000, cuEventSynchronize) \
    X(cuFuncGetAttribute, 2020, cuFuncGetAttribute) \
    X(cuFuncSetAttribute, 9000, cuFuncSetAttribute) \
    X(cuFuncSetBlockShape, 2000, cuFuncSetBlockShape) \
    X(cuFuncSetCacheConfig, 3000, cuFuncSetCacheConfig) \
    X(cuFuncSetSharedMemConfig, 4020, cuFuncSetSharedMemConfig) \
    X(cuGetErrorName, 6000, cuGetErrorName) \
    X(cuGetErrorString, 6000, cuGetErrorString) \
    X(cuGetProcAddress, 11030, cuGetProcAddress) \
    X(cuGetProcAddress, 12000, cuGetProcAddress_v2) \
    X(cuGraphAddChildGraphNode, 10000, cuGraphAddChildGraphNode) \
    X(cuGraphAddDependencies, 10000, cuGraphAddDependencies) \
    X(cuGraphAddDependencies, 12030, cuGraphAddDependencies_v2) \
    X(cuGraphAddEmptyNode, 10000, cuGraphAddEmptyNode) \
    X(cuGraphAddEventRecordNode, 11010, cuGraphAddEventRecordNode) \
    X(cuGraphAddEventWaitNode, 11010, cuGraphAddEventWaitNode) \
    X(cuGraphAddHostNode, 10000, cuGraphAddHostNode) \
    X(cuGraphAddKernelNode, 10000, cuGraphAddKernelNode) \
    X(cuGraphAddKernelNode, 12000, cuGraphAddKernelNode_v2) \
    X(cuGraphAddMemcpyNode, 10000, cuGraphAddMemcpyNode) \
    X(cuGraphAddMemsetNode, 10000, cuGraphAddMemsetNode) \
    X(cuGraphAddNode, 12020, cuGraphAddNode) \
    X(cuGraphAddNode, 12030, cuGraphAddNode_v2) \
    X(cuGraphChildGraphNodeGetGraph, 10000, cuGraphChildGraphNodeGetGraph) \
    X(cuGraphClone, 10000, cuGraphClone) \
    X(cuGraphCreate, 10000, cuGraphCreate) \
    X(cuGraphDestroy, 10000, cuGraphDestroy) \
    X(cuGraphDestroyNode, 10000, cuGraphDestroyNode) \
    X(cuGraphEventRecordNodeGetEvent, 11010, cuGraphEventRecordNodeGetEvent) \
    X(cuGraphEventRecordNodeSetEvent, 11010, cuGraphEventRecordNodeSetEvent) \
    X(cuGraphEventWaitNodeGetEvent, 11010, cuGraphEventWaitNodeGetEvent) \
    X(cuGraphEventWaitNodeSetEvent, 11010, cuGraphEventWaitNodeSetEvent) \
    X(cuGraphExecChildGraphNodeSetParams, 11010, cuGraphExecChildGraphNodeSetParams) \
    X(cuGraphExecDestroy, 10000, cuGraphExecDestroy) \
    X(cuGraphExecEventRecordNodeSetEvent, 11010, cuGraphExecEventRecordNodeSetEvent) \
    X(cuGraphExecEventWaitNodeSetEvent, 11010, cuGraphExecEventWaitNodeSetEvent) \
    X(cuGraphExecGetFlags, 12000, cuGraphExecGetFlags) \
    X(cuGraphExecHostNodeSetParams, 10020, cuGraphExecHostNodeSetParams) \
    X(cuGraphExecKernelNodeSetParams, 10010, cuGraphExecKernelNodeSetParams) \
    X(cuGraphExecKernelNodeSetParams, 12000, cuGraphExecKernelNodeSetParams_v2) \
    X(cuGraphExecMemcpyNodeSetParams, 10020, cuGraphExecMemcpyNodeSetParams) \
    X(cuGraphExecMemsetNodeSetParams, 10020, cuGraphExecMemsetNodeSetParams) \
    X(cuGraphExecNodeSetParams, 12020, cuGraphExecNodeSetParams) \
    X(cuGraphExecUpdate, 10020, cuGraphExecUpdate) \
    X(cuGraphExecUpdate, 12000, cuGraphExecUpdate_v2) \
    X(cuGraphGetEdges, 10000, cuGraphGetEdges) \
    X(cuGraphGetEdges, 12030, cuGraphGetEdges_v2) \
    X(cuGraphGetNodes, 10000, cuGraphGetNodes) \
    X(cuGraphGetRootNodes, 10000, cuGraphGetRootNodes) \
    X(cuGraphHostNodeGetParams, 10000, cuGraphHostNodeGetParams) \
    X(cuGraphHostNodeSetParams, 10000, cuGraphHostNodeSetParams) \
    X(cuGraphInstantiate, 10000, cuGraphInstantiate) \
    X(cuGraphInstantiate, 11000, cuGraphInstantiate_v2) \
    X(cuGraphInstantiate, 12000, cuGraphInstantiateWithFlags) \
    X(cuGraphInstantiateWithFlags, 11040, cuGraphInstantiateWithFlags) \
    X(cuGraphInstantiateWithParams, 12000, cuGraphInstantiateWithParams) \
    X(cuGraphKernelNodeGetParams, 10000, cuGraphKernelNodeGetParams) \
    X(cuGraphKernelNodeGetParams, 12000, cuGraphKernelNodeGetParams_v2) \
    X(cuGraphKernelNodeSetParams, 10000, cuGraphKernelNodeSetParams) \
    X(cuGraphKernelNodeSetParams, 12000, cuGraphKernelNodeSetParams_v2) \
    X(cuGraphLaunch, 10000, cuGraphLaunch) \
    X(cuGraphMemcpyNodeGetParams, 10000, cuGraphMemcpyNodeGetParams) \
    X(cuGraphMemcpyNodeSetParams, 10000, cuGraphMemcpyNodeSetParams) \
    X(cuGraphMemsetNodeGetParams, 10000, cuGraphMemsetNodeGetParams) \
    X(cuGraphMemsetNodeSetParams, 10000, cuGraphMemsetNodeSetParams) \
    X(cuGraphNodeFindInClone, 10000, cuGraphNodeFindInClone) \
    X(cuGraphNodeGetDependencies, 10000, cuGraphNodeGetDependencies) \
    X(cuGraphNodeGetDependencies, 12030, cuGraphNodeGetDependencies_v2) \
    X(cuGraphNodeGetDependentNodes, 10000, cuGraphNodeGetDependentNodes) \
    X(cuGraphNodeGetDependentNodes, 12030, cuGraphNodeGetDependentNodes_v2) \
    X(cuGraphNodeGetEnabled, 11060, cuGraphNodeGetEnabled) \
    X(cuGraphNodeGetType, 10000, cuGraphNodeGetType) \
    X(cuGraphNodeSetEnabled, 11060, cuGraphNodeSetEnabled) \
    X(cuGraphNodeSetParams, 12020, cuGraphNodeSetParams) \
    X(cuGraphRemoveDependencies, 10000, cuGraphRemoveDependencies) \
    X(cuGraphRemoveDependencies, 12030, cuGraphRemoveDependencies_v2) \
    X(cuGraphUpload, 11010, cuGraphUpload) \
    X(cuInit, 2000, cuInit) \
    X(cuLaunchHostFunc, 10000, cuLaunchHostFunc) \
    X(cuLaunchKernel, 4000, cuLaunchKernel) \
    X(cuLinkCreate, 6050, cuLinkCreate_v2) \
    X(cuMemAlloc, 3020, cuMemAlloc_v2) \
    X(cuMemAllocHost, 3020, cuMemAllocHost_v2) \
    X(cuMemAllocPitch, 3020, cuMemAllocPitch_v2) \
    X(cuMemFree, 3020, cuMemFree_v2) \
    X(cuMemFreeHost, 2000, cuMemFreeHost) \
    X(cuMemGetAddressRange, 3020, cuMemGetAddressRange_v2) \
    X(cuMemGetInfo, 3020, cuMemGetInfo_v2) \
    X(cuMemHostAlloc, 2020, cuMemHostAlloc) \
    X(cuMemHostGetDevicePointer, 3020, cuMemHostGetDevicePointer_v2) \
    X(cuMemHostGetFlags, 2030, cuMemHostGetFlags) \
    X(cuMemHostRegister, 6050, cuMemHostRegister_v2) \
    X(cuMemHostUnregister, 4000, cuMemHostUnregister) \
    X(cuMemcpy, 4000, cuMemcpy) \
    X(cuMemcpy2D, 3020, cuMemcpy2D_v2) \
    X(cuMemcpy2DAsync, 3020, cuMemcpy2DAsync_v2) \
    X(cuMemcpy2DUnaligned, 3020, cuMemcpy2DUnaligned_v2) \
    X(cuMemcpy3D, 3020, cuMemcpy3D_v2) \
    X(cuMemcpy3DAsync, 3020, cuMemcpy3DAsync_v2) \
    X(cuMemcpyAsync, 4000, cuMemcpyAsync) \
    X(cuMemcpyDtoD, 3020, cuMemcpyDtoD_v2) \
    X(cuMemcpyDtoDAsync, 3020, cuMemcpyDtoDAsync_v2) \
    X(cuMemcpyDtoH, 3020, cuMemcpyDtoH_v2) \
    X(cuMemcpyDtoHAsync, 3020, cuMemcpyDtoHAsync_v2) \
    X(cuMemcpyHtoD, 3020, cuMemcpyHtoD_v2) \
    X(cuMemcpyHtoDAsync, 3020, cuMemcpyHtoDAsync_v2) \
    X(cuMemsetD16, 3020, cuMemsetD16_v2) \
    X(cuMemsetD16Async, 3020, cuMemsetD16Async) \
    X(cuMemsetD2D16, 3020, cuMemsetD2D16_v2) \
    X(cuMemsetD2D16Async, 3020, cuMemsetD2D16Async) \
    X(cuMemsetD2D32, 3020, cuMemsetD2D32_v2) \
    X(cuMemsetD2D32Async, 3020, cuMemsetD2D32Async) \
    X(cuMemsetD2D8, 3020, cuMemsetD2D8_v2) \
    X(cuMemsetD2D8Async, 3020, cuMemsetD2D8Async) \
    X(cuMemsetD32, 3020, cuMemsetD32_v2) \
    X(cuMemsetD32Async, 3020, cuMemsetD32Async) \
    X(cuMemsetD8, 3020, cuMemsetD8_v2) \
    X(cuMemsetD8Async, 3020, cuMemsetD8Async) \
    X(cuModuleGetFunction, 2000, cuModuleGetFunction) \
    X(cuModuleGetGlobal, 3020, cuModuleGetGlobal_v2) \
    X(cuModuleLoad, 2000, cuModuleLoad) \
    X(cuModuleLoadData, 2000, cuModuleLoadData) \
    X(cuModuleLoadDataEx, 2010, cuModuleLoadDataEx) \
    X(cuModuleLoadFatBinary, 2000, cuModuleLoadFatBinary) \
    X(cuModuleUnload, 2000, cuModuleUnload) \
    X(cuProfilerStart, 4000, cuProfilerStart) \
    X(cuProfilerStop, 4000, cuProfilerStop) \
    X(cuStreamAddCallback, 5000, cuStreamAddCallback) \
    X(cuStreamBeginCapture, 10000, cuStreamBeginCapture) \
    X(cuStreamBeginCapture, 10010, cuStreamBeginCapture_v2) \
    X(cuStreamBeginCaptureToGraph, 12030, cuStreamBeginCaptureToGraph) \
    X(cuStreamCreate, 2000, cuStreamCreate) \
    X(cuStreamCreateWithPriority, 5050, cuStreamCreateWithPriority) \
    X(cuStreamDestroy, 4000, cuStreamDestroy_v2) \
    X(cuStreamEndCapture, 10000, cuStreamEndCapture) \
    X(cuStreamGetCaptureInfo, 10010, cuStreamGetCaptureInfo) \
    X(cuStreamGetCaptureInfo, 11030, cuStreamGetCaptureInfo_v2) \
    X(cuStreamGetCaptureInfo, 12030, cuStreamGetCaptureInfo_v3) \
    X(cuStreamGetCtx, 9020, cuStreamGetCtx) \
    X(cuStreamGetFlags, 5050, cuStreamGetFlags) \
    X(cuStreamGetPriority, 5050, cuStreamGetPriority) \
    X(cuStreamIsCapturing, 10000, cuStreamIsCapturing) \
    X(cuStreamQuery, 2000, cuStreamQuery) \
    X(cuStreamSynchronize, 2000, cuStreamSynchronize) \
    X(cuStreamUpdateCaptureDependencies, 11030, cuStreamUpdateCaptureDependencies) \
    X(cuStreamUpdateCaptureDependencies, 12030, cuStreamUpdateCaptureDependencies_v2) \
    X(cuStreamWaitEvent, 3020, cuStreamWaitEvent) \
    X(cuThreadExchangeStreamCaptureMode, 10010, cuThreadExchangeStreamCaptureMode)

// Functions that the driver of CUDA 12.4 has and the emulator does not: name and version in which they came. They answer
// CUDA_ERROR_NOT_SUPPORTED.
#define KAAS_ABSENT_ENTRY_POINTS(X) \
    X(cuArray3DCreate, 2000) X(cuArray3DGetDescriptor, 2000) X(cuArrayCreate, 2000) X(cuArrayDestroy, 2000) \
    X(cuArrayGetDescriptor, 2000) X(cuArrayGetMemoryRequirements, 11060) X(cuArrayGetPlane, 11020) \
    X(cuArrayGetSparseProperties, 11010) X(cuCoredumpGetAttribute, 12010) X(cuCoredumpGetAttributeGlobal, 12010) \
    X(cuCoredumpSetAttribute, 12010) X(cuCoredumpSetAttributeGlobal, 12010) X(cuCtxDisablePeerAccess, 4000) \
    X(cuCtxEnablePeerAccess, 4000) X(cuCtxFromGreenCtx, 12040) X(cuCtxGetDevResource, 12040) \
    X(cuCtxGetExecAffinity, 11040) X(cuCtxGetId, 12000) X(cuCtxResetPersistingL2Cache, 11000) \
    X(cuCtxSetFlags, 12010) X(cuDestroyExternalMemory, 10000) X(cuDestroyExternalSemaphore, 10000) \
    X(cuDevResourceGenerateDesc, 12040) X(cuDevSmResourceSplitByCount, 12040) X(cuDeviceGetDefaultMemPool, 11020) \
    X(cuDeviceGetDevResource, 12040) X(cuDeviceGetExecAffinitySupport, 11040) X(cuDeviceGetGraphMemAttribute, 11040) \
    X(cuDeviceGetLuid, 10000) X(cuDeviceGetMemPool, 11020) X(cuDeviceGetNvSciSyncAttributes, 10020) \
    X(cuDeviceGetP2PAttribute, 8000) X(cuDeviceGetProperties, 2000) X(cuDeviceGetTexture1DLinearMaxWidth, 11010) \
    X(cuDeviceGraphMemTrim, 11040) X(cuDeviceRegisterAsyncNotification, 12040) \
    X(cuDeviceSetGraphMemAttribute, 11040) X(cuDeviceSetMemPool, 11020) \
    X(cuDeviceUnregisterAsyncNotification, 12040) X(cuExternalMemoryGetMappedBuffer, 10000) \
    X(cuExternalMemoryGetMappedMipmappedArray, 10000) X(cuFlushGPUDirectRDMAWrites, 11030) X(cuFuncGetModule, 11000) \
    X(cuFuncGetName, 12030) X(cuFuncGetParamInfo, 12040) X(cuFuncIsLoaded, 12040) X(cuFuncLoad, 12040) \
    X(cuFuncSetSharedSize, 2000) X(cuGetExportTable, 3000) X(cuGraphAddBatchMemOpNode, 11070) \
    X(cuGraphAddExternalSemaphoresSignalNode, 11020) X(cuGraphAddExternalSemaphoresWaitNode, 11020) \
    X(cuGraphAddMemAllocNode, 11040) X(cuGraphAddMemFreeNode, 11040) X(cuGraphBatchMemOpNodeGetParams, 11070) \
    X(cuGraphBatchMemOpNodeSetParams, 11070) X(cuGraphConditionalHandleCreate, 12030) X(cuGraphDebugDotPrint, 11030) \
    X(cuGraphExecBatchMemOpNodeSetParams, 11070) X(cuGraphExecExternalSemaphoresSignalNodeSetParams, 11020) \
    X(cuGraphExecExternalSemaphoresWaitNodeSetParams, 11020) X(cuGraphExternalSemaphoresSignalNodeGetParams, 11020) \
    X(cuGraphExternalSemaphoresSignalNodeSetParams, 11020) X(cuGraphExternalSemaphoresWaitNodeGetParams, 11020) \
    X(cuGraphExternalSemaphoresWaitNodeSetParams, 11020) X(cuGraphKernelNodeCopyAttributes, 11000) \
    X(cuGraphKernelNodeGetAttribute, 11000) X(cuGraphKernelNodeSetAttribute, 11000) \
    X(cuGraphMemAllocNodeGetParams, 11040) X(cuGraphMemFreeNodeGetParams, 11040) X(cuGraphReleaseUserObject, 11030) \
    X(cuGraphRetainUserObject, 11030) X(cuGreenCtxCreate, 12040) X(cuGreenCtxDestroy, 12040) \
    X(cuGreenCtxGetDevResource, 12040) X(cuGreenCtxRecordEvent, 12040) X(cuGreenCtxWaitEvent, 12040) \
    X(cuImportExternalMemory, 10000) X(cuImportExternalSemaphore, 10000) X(cuIpcCloseMemHandle, 4010) \
    X(cuIpcGetEventHandle, 4010) X(cuIpcGetMemHandle, 4010) X(cuIpcOpenEventHandle, 4010) \
    X(cuIpcOpenMemHandle, 4010) X(cuKernelGetAttribute, 12000) X(cuKernelGetFunction, 12000) \
    X(cuKernelGetName, 12030) X(cuKernelGetParamInfo, 12040) X(cuKernelSetAttribute, 12000) \
    X(cuKernelSetCacheConfig, 12000) X(cuLaunch, 2000) X(cuLaunchCooperativeKernel, 9000) \
    X(cuLaunchCooperativeKernelMultiDevice, 9000) X(cuLaunchGrid, 2000) X(cuLaunchGridAsync, 2000) \
    X(cuLaunchKernelEx, 11060) X(cuLibraryEnumerateKernels, 12040) X(cuLibraryGetGlobal, 12000) \
    X(cuLibraryGetKernel, 12000) X(cuLibraryGetKernelCount, 12040) X(cuLibraryGetManaged, 12000) \
    X(cuLibraryGetModule, 12000) X(cuLibraryGetUnifiedFunction, 12000) X(cuLibraryLoadData, 12000) \
    X(cuLibraryLoadFromFile, 12000) X(cuLibraryUnload, 12000) X(cuLinkAddData, 5050) X(cuLinkAddFile, 5050) \
    X(cuLinkComplete, 5050) X(cuLinkDestroy, 5050) X(cuMemAddressFree, 10020) \
    X(cuMemAddressReserve, 10020) X(cuMemAdvise, 8000) X(cuMemAllocAsync, 11020) X(cuMemAllocFromPoolAsync, 11020) \
    X(cuMemAllocManaged, 6000) X(cuMemCreate, 10020) X(cuMemExportToShareableHandle, 10020) X(cuMemFreeAsync, 11020) \
    X(cuMemGetAccess, 10020) X(cuMemGetAllocationGranularity, 10020) \
    X(cuMemGetAllocationPropertiesFromHandle, 10020) X(cuMemGetHandleForAddressRange, 11070) \
    X(cuMemImportFromShareableHandle, 10020) X(cuMemMap, 10020) X(cuMemMapArrayAsync, 11010) \
    X(cuMemPoolCreate, 11020) X(cuMemPoolDestroy, 11020) X(cuMemPoolExportPointer, 11020) \
    X(cuMemPoolExportToShareableHandle, 11020) X(cuMemPoolGetAccess, 11020) X(cuMemPoolGetAttribute, 11020) \
    X(cuMemPoolImportFromShareableHandle, 11020) X(cuMemPoolImportPointer, 11020) X(cuMemPoolSetAccess, 11020) \
    X(cuMemPoolSetAttribute, 11020) X(cuMemPoolTrimTo, 11020) X(cuMemPrefetchAsync, 8000) \
    X(cuMemRangeGetAttribute, 8000) X(cuMemRangeGetAttributes, 8000) X(cuMemRelease, 10020) \
    X(cuMemRetainAllocationHandle, 11000) X(cuMemSetAccess, 10020) X(cuMemUnmap, 10020) X(cuMemcpy3DPeer, 4000) \
    X(cuMemcpy3DPeerAsync, 4000) X(cuMemcpyAtoA, 2000) X(cuMemcpyAtoD, 2000) X(cuMemcpyAtoH, 2000) \
    X(cuMemcpyAtoHAsync, 2000) X(cuMemcpyDtoA, 2000) X(cuMemcpyHtoA, 2000) X(cuMemcpyHtoAAsync, 2000) \
    X(cuMemcpyPeer, 4000) X(cuMemcpyPeerAsync, 4000) X(cuMipmappedArrayCreate, 5000) \
    X(cuMipmappedArrayDestroy, 5000) X(cuMipmappedArrayGetLevel, 5000) \
    X(cuMipmappedArrayGetMemoryRequirements, 11060) X(cuMipmappedArrayGetSparseProperties, 11010) \
    X(cuModuleEnumerateFunctions, 12040) X(cuModuleGetFunctionCount, 12040) X(cuModuleGetLoadingMode, 11070) \
    X(cuModuleGetSurfRef, 3000) X(cuModuleGetTexRef, 2000) X(cuMulticastAddDevice, 12010) \
    X(cuMulticastBindAddr, 12010) X(cuMulticastBindMem, 12010) X(cuMulticastCreate, 12010) \
    X(cuMulticastGetGranularity, 12010) X(cuMulticastUnbind, 12010) \
    X(cuOccupancyAvailableDynamicSMemPerBlock, 10020) X(cuOccupancyMaxActiveBlocksPerMultiprocessor, 6050) \
    X(cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags, 7000) X(cuOccupancyMaxActiveClusters, 11070) \
    X(cuOccupancyMaxPotentialBlockSize, 6050) X(cuOccupancyMaxPotentialBlockSizeWithFlags, 7000) \
    X(cuOccupancyMaxPotentialClusterSize, 11070) X(cuParamSetSize, 2000) X(cuParamSetTexRef, 2000) \
    X(cuParamSetf, 2000) X(cuParamSeti, 2000) X(cuParamSetv, 2000) X(cuPointerGetAttribute, 4000) \
    X(cuPointerGetAttributes, 7000) X(cuPointerSetAttribute, 6000) X(cuProfilerInitialize, 4000) \
    X(cuSignalExternalSemaphoresAsync, 10000) X(cuStreamAttachMemAsync, 6000) X(cuStreamBatchMemOp, 8000) \
    X(cuStreamCopyAttributes, 11000) X(cuStreamGetAttribute, 11000) X(cuStreamGetGreenCtx, 12040) \
    X(cuStreamGetId, 12000) X(cuStreamSetAttribute, 11000) X(cuStreamWaitValue32, 8000) X(cuStreamWaitValue64, 9000) \
    X(cuStreamWriteValue32, 8000) X(cuStreamWriteValue64, 9000) X(cuSurfObjectCreate, 5000) \
    X(cuSurfObjectDestroy, 5000) X(cuSurfObjectGetResourceDesc, 5000) X(cuSurfRefGetArray, 3000) \
    X(cuSurfRefSetArray, 3000) X(cuTensorMapEncodeIm2col, 12000) X(cuTensorMapEncodeTiled, 12000) \
    X(cuTensorMapReplaceAddress, 12000) X(cuTexObjectCreate, 5000) X(cuTexObjectDestroy, 5000) \
    X(cuTexObjectGetResourceDesc, 5000) X(cuTexObjectGetResourceViewDesc, 5000) X(cuTexObjectGetTextureDesc, 5000) \
    X(cuTexRefCreate, 2000) X(cuTexRefDestroy, 2000) X(cuTexRefGetAddress, 2000) X(cuTexRefGetAddressMode, 2000) \
    X(cuTexRefGetArray, 2000) X(cuTexRefGetBorderColor, 8000) X(cuTexRefGetFilterMode, 2000) \
    X(cuTexRefGetFlags, 2000) X(cuTexRefGetFormat, 2000) X(cuTexRefGetMaxAnisotropy, 5000) \
    X(cuTexRefGetMipmapFilterMode, 5000) X(cuTexRefGetMipmapLevelBias, 5000) X(cuTexRefGetMipmapLevelClamp, 5000) \
    X(cuTexRefGetMipmappedArray, 5000) X(cuTexRefSetAddress, 2000) X(cuTexRefSetAddress2D, 2020) \
    X(cuTexRefSetAddressMode, 2000) X(cuTexRefSetArray, 2000) X(cuTexRefSetBorderColor, 8000) \
    X(cuTexRefSetFilterMode, 2000) X(cuTexRefSetFlags, 2000) X(cuTexRefSetFormat, 2000) \
    X(cuTexRefSetMaxAnisotropy, 5000) X(cuTexRefSetMipmapFilterMode, 5000) X(cuTexRefSetMipmapLevelBias, 5000) \
    X(cuTexRefSetMipmapLevelClamp, 5000) X(cuTexRefSetMipmappedArray, 5000) X(cuUserObjectCreate, 11030) \
    X(cuUserObjectRelease, 11030) X(cuUserObjectRetain, 11030) X(cuWaitExternalSemaphoresAsync, 10000)
