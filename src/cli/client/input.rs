//! What to work on, from a file or from standard input.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use zeroize::Zeroizing;

use crate::cli::exit::{Exit, Failure};
use crate::domain::secret::{SecretBytes, SecretText};

/// The most that is read. Twice the largest ciphertext that the service makes; it enforces its own limits, with its own words.
const INPUT_MAX_BYTES: usize = 128 * 1024;

/// Text from `file`, else from standard input.
pub(super) fn text(file: Option<&Path>) -> Result<SecretText, Failure> {
    bytes(file)?.into_text().map_err(|_| Failure::new(Exit::Failed, format!("{}: is not UTF-8 text; encode it first, as Base64 for instance", name(file))))
}

/// Bytes from `file`, else from standard input.
pub(super) fn bytes(file: Option<&Path>) -> Result<SecretBytes, Failure> {
    let opened = match file {
        Some(path) => File::open(path).and_then(|mut file| bounded(&mut file)),
        None => bounded(&mut io::stdin().lock()),
    };
    match opened {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => Err(Failure::new(Exit::Failed, format!("{}: is longer than {INPUT_MAX_BYTES} bytes", name(file)))),
        Err(error) => Err(Failure::new(Exit::Failed, format!("{}: {error}", name(file)))),
    }
}

/// Everything from `reader`, or `None` if that is too much.
fn bounded(reader: &mut dyn Read) -> io::Result<Option<SecretBytes>> {
    // One byte more than is allowed, all there from the start: the buffer never moves and leaves no copy behind.
    let mut buffer = Zeroizing::new(Vec::with_capacity(INPUT_MAX_BYTES + 1));
    reader.take(INPUT_MAX_BYTES as u64 + 1).read_to_end(&mut buffer)?;
    Ok((buffer.len() <= INPUT_MAX_BYTES).then(|| SecretBytes::new(buffer.to_vec())))
}

fn name(file: Option<&Path>) -> String {
    file.map_or("standard input".to_owned(), |path| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_is_bounded() {
        let fits = vec![b'x'; INPUT_MAX_BYTES];
        assert_eq!(bounded(&mut fits.as_slice()).unwrap(), Some(SecretBytes::new(fits.clone())));
        let too_long = vec![b'x'; INPUT_MAX_BYTES + 1];
        assert_eq!(bounded(&mut too_long.as_slice()).unwrap(), None);
    }
}
