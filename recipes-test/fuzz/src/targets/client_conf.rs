//! client.conf, which the node reads out of images that anybody may have made.

use micrun_image_spec::client_conf::ClientConf;

use super::check_error;

/// What is valid is written and read again as it was, but for a pedestal that it does not name: that is written.
pub fn run(bytes: &[u8]) {
    match ClientConf::from_bytes(bytes) {
        Ok(conf) => match conf.validate() {
            Ok(()) => {
                let again = ClientConf::from_bytes(conf.to_string().as_bytes());
                assert_eq!(again.map(|again| again.to_string()), Ok(conf.to_string()));
            }
            Err(error) => check_error(&error),
        },
        Err(error) => check_error(&error),
    }
}
