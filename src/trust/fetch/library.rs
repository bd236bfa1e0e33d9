//! The library `pg_auth_jwt_fetch`, beside this one in the same folder: the HTTPS client.
//!
//! Only the worker that fetches loads it, so that other processes are not slowed down by it. Its C
//! interface takes a JSON text and returns one: see `crates/jwks_fetch`.

use std::ffi::{CStr, CString, OsStr, c_int, c_void};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

type Version = unsafe extern "C" fn() -> u32;
type Start = unsafe extern "C" fn(*const u8, usize) -> *mut c_void;
type Poll = unsafe extern "C" fn(*mut c_void, *mut *const u8, *mut usize) -> c_int;
type Free = unsafe extern "C" fn(*mut c_void);

/// The library's functions, of this version of its interface.
pub struct FetchLibrary {
    start: Start,
    poll: Poll,
    free: Free,
}

/// A request that runs in a thread of its own. Dropping it does not wait for the thread.
pub struct Fetch<'l> {
    library: &'l FetchLibrary,
    handle: *mut c_void,
}

impl FetchLibrary {
    /// The library's file, beside this library's.
    pub fn path() -> Option<PathBuf> {
        // SAFETY: a structure of pointers may be zeros; dladdr fills it for an address in a
        // library, with a NUL-terminated path that lives as long as the library.
        let own = unsafe {
            let mut found = std::mem::zeroed::<libc::Dl_info>();
            let address = (&raw const ANCHOR).cast::<c_void>();
            if libc::dladdr(address, &raw mut found) == 0 || found.dli_fname.is_null() {
                return None;
            }
            CStr::from_ptr(found.dli_fname).to_bytes().to_vec()
        };
        let own = PathBuf::from(std::ffi::OsString::from_vec(own));
        let mut name = OsStr::new("pg_auth_jwt_fetch").to_owned();
        if let Some(suffix) = own.extension() {
            name.push(".");
            name.push(suffix);
        }
        Some(own.with_file_name(name))
    }

    /// Loads it, for the rest of the process.
    ///
    /// # Errors
    ///
    /// The reason why it cannot be used, as a sentence.
    pub fn load(version: u32) -> Result<Self, String> {
        let path = Self::path().ok_or("the folder of the library pg_auth_jwt is not known")?;
        let Ok(name) = CString::new(path.as_os_str().as_bytes()) else {
            return Err("the library's path cannot be used".to_owned());
        };
        // SAFETY: the path is NUL-terminated. The library is the one that was installed with this
        // one, in a folder that only the server's administrator writes to; it runs nothing when it
        // is loaded. It is not unloaded, so its functions stay.
        unsafe {
            let library = libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL);
            if library.is_null() {
                return Err(reason(&path));
            }
            let symbol = |name| symbol(library, name, &path);
            let found = symbol(c"pg_auth_jwt_fetch_version")?;
            let found = std::mem::transmute::<*mut c_void, Version>(found)();
            if found != version {
                return Err(format!(
                    "{} has version {found} of the interface, and version {version} is needed: \
                     restart the server after an upgrade",
                    path.display()
                ));
            }
            let start = symbol(c"pg_auth_jwt_fetch_start")?;
            let poll = symbol(c"pg_auth_jwt_fetch_poll")?;
            let free = symbol(c"pg_auth_jwt_fetch_free")?;
            Ok(Self {
                start: std::mem::transmute::<*mut c_void, Start>(start),
                poll: std::mem::transmute::<*mut c_void, Poll>(poll),
                free: std::mem::transmute::<*mut c_void, Free>(free),
            })
        }
    }

    /// Starts a request; `None` if it could not be started.
    pub fn start(&self, request: &str) -> Option<Fetch<'_>> {
        // SAFETY: the library copies the text.
        let handle = unsafe { (self.start)(request.as_ptr(), request.len()) };
        (!handle.is_null()).then_some(Fetch {
            library: self,
            handle,
        })
    }
}

impl Fetch<'_> {
    /// The answer, once there is one.
    pub fn poll(&self) -> Option<Vec<u8>> {
        let (mut answer, mut length) = (std::ptr::null(), 0_usize);
        // SAFETY: the handle is of a request that was started and not freed. A finished one gives a
        // text of that length, which lives until it is freed.
        unsafe {
            let state = (self.library.poll)(self.handle, &raw mut answer, &raw mut length);
            if state == 0 {
                return None;
            }
            if answer.is_null() {
                return Some(Vec::new());
            }
            Some(std::slice::from_raw_parts(answer, length).to_vec())
        }
    }
}

impl Drop for Fetch<'_> {
    fn drop(&mut self) {
        // SAFETY: as above; it is not used after this.
        unsafe { (self.library.free)(self.handle) }
    }
}

/// A static of this library, whose address identifies its file.
static ANCHOR: u8 = 0;

/// # Safety
///
/// `library` must be one that dlopen gave.
unsafe fn symbol(library: *mut c_void, name: &CStr, path: &Path) -> Result<*mut c_void, String> {
    // SAFETY: as the caller promises; the name is NUL-terminated.
    let address = unsafe { libc::dlsym(library, name.as_ptr()) };
    if address.is_null() {
        return Err(reason(path));
    }
    Ok(address)
}

/// Reason why the last call of dlopen or dlsym failed.
fn reason(path: &Path) -> String {
    // SAFETY: dlerror gives NULL or a NUL-terminated text, which is copied before the next call.
    let text = unsafe {
        let text = libc::dlerror();
        if text.is_null() {
            return format!("{} cannot be loaded", path.display());
        }
        CStr::from_ptr(text).to_string_lossy().into_owned()
    };
    format!("the fetch library cannot be loaded: {text}")
}
