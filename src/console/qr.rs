//! Pictures that telephones read.

use qrcode::{Color, EcLevel};

/// A QR code as the path of an SVG: nothing that a Content-Security-Policy would have to allow.
#[derive(Debug)]
pub(super) struct QrCode {
    /// Its width and height in modules, with the quiet zone.
    pub(super) size: usize,
    /// A square for each dark module.
    pub(super) path: String,
}

/// Light modules around it (ISO/IEC 18004, 6.3.8).
const QUIET: usize = 4;

impl QrCode {
    /// Of a text; empty where it is too long for any, which the addresses here are not.
    pub(super) fn of(text: &str) -> Self {
        let Ok(code) = qrcode::QrCode::with_error_correction_level(text, EcLevel::M) else { return Self { size: 0, path: String::new() } };
        let width = code.width();
        let dark = code.to_colors().into_iter().enumerate().filter(|(_, color)| *color == Color::Dark);
        let path = dark.map(|(at, _)| format!("M{} {}h1v1h-1z", at % width + QUIET, at / width + QUIET)).collect();
        Self { size: width + 2 * QUIET, path }
    }
}
