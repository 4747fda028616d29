#ifndef EAGLE_CHDF5_SHIM_H
#define EAGLE_CHDF5_SHIM_H

#include <hdf5.h>

// Swift cannot import these: each is a macro that opens the library and then reads a global, or a cast.

static inline hid_t eagle_h5_native_int32(void) { return H5T_NATIVE_INT32; }
static inline hid_t eagle_h5_native_float32(void) { return H5T_NATIVE_FLOAT; }
static inline hid_t eagle_h5_native_int64(void) { return H5T_NATIVE_INT64; }
static inline hid_t eagle_h5_native_uint16(void) { return H5T_NATIVE_UINT16; }
static inline hid_t eagle_h5_native_uint8(void) { return H5T_NATIVE_UINT8; }
static inline hid_t eagle_h5_native_int8(void) { return H5T_NATIVE_INT8; }

static inline hid_t eagle_h5_file_int32(void) { return H5T_STD_I32LE; }
static inline hid_t eagle_h5_file_float32(void) { return H5T_IEEE_F32LE; }
static inline hid_t eagle_h5_file_int64(void) { return H5T_STD_I64LE; }
static inline hid_t eagle_h5_file_uint16(void) { return H5T_STD_U16LE; }
static inline hid_t eagle_h5_file_uint8(void) { return H5T_STD_U8LE; }
static inline hid_t eagle_h5_file_int8(void) { return H5T_STD_I8LE; }

static inline hid_t eagle_h5_c_string(void) { return H5T_C_S1; }
static inline size_t eagle_h5_variable_length(void) { return H5T_VARIABLE; }

static inline hid_t eagle_h5_dataset_create(void) { return H5P_DATASET_CREATE; }
static inline hid_t eagle_h5_dataset_access(void) { return H5P_DATASET_ACCESS; }
static inline hid_t eagle_h5_file_access(void) { return H5P_FILE_ACCESS; }
static inline hid_t eagle_h5_default_list(void) { return H5P_DEFAULT; }

static inline hid_t eagle_h5_whole_space(void) { return H5S_ALL; }
static inline hsize_t eagle_h5_unlimited(void) { return H5S_UNLIMITED; }
static inline hid_t eagle_h5_default_errors(void) { return H5E_DEFAULT; }

static inline unsigned eagle_h5_truncate(void) { return H5F_ACC_TRUNC; }
static inline unsigned eagle_h5_read_only(void) { return H5F_ACC_RDONLY; }
static inline unsigned eagle_h5_read_write(void) { return H5F_ACC_RDWR; }

#endif
