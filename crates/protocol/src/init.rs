//! What must hold of an Init before a function is looked for (R15, R17, R18).

use crate::error::ExecutionError;
use crate::wire::{self, UdfPayload, UdfWorkerDataFormat};

/// The version this crate speaks (R17).
pub const PROTOCOL_VERSION: u32 = 1;

/// Checks an Init: the version first, since it decides what the rest means (R17), then the data format against the
/// ones that the worker declared (R15), then that a function is named (R18).
///
/// # Errors
/// A ProtocolError that names the field and what would be accepted; it belongs into `InitResponse.error`.
pub fn check_init<'a>(init: &'a wire::Init, formats: &[UdfWorkerDataFormat]) -> Result<&'a UdfPayload, ExecutionError> {
    match init.protocol_version {
        None | Some(PROTOCOL_VERSION) => {}
        Some(other) => {
            return Err(ExecutionError::protocol(
                "UNSUPPORTED_PROTOCOL_VERSION",
                format!("protocol_version {other} is not supported, supported: {PROTOCOL_VERSION} (R17)"),
            ));
        }
    }
    match UdfWorkerDataFormat::try_from(init.data_format) {
        Ok(format) if format != UdfWorkerDataFormat::Unspecified && formats.contains(&format) => {}
        format => {
            let asked = format.map_or_else(|_| init.data_format.to_string(), |f| f.as_str_name().to_string());
            let declared: Vec<_> = formats.iter().map(|format| format.as_str_name()).collect();
            return Err(ExecutionError::protocol(
                "UNSUPPORTED_DATA_FORMAT",
                format!("data_format {asked} is not one that this worker declared: {} (R15)", declared.join(", ")),
            ));
        }
    }
    match &init.udf {
        Some(udf) if !udf.format.is_empty() => Ok(udf),
        Some(_) => Err(ExecutionError::protocol("MISSING_FIELD", "Init.udf.format is required and empty (R18)")),
        None => Err(ExecutionError::protocol("MISSING_FIELD", "Init.udf is required and missing (R18)")),
    }
}
