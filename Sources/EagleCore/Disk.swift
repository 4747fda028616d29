import Foundation

/// Space on the disks of this machine.
package enum Disk {
  /// Free bytes of the disk on which `path` is or will be; 0 where the system does not say.
  package static func free(at path: String) -> Double { freeBytes(at: path) ?? 0 }

  /// Free bytes of the disk on which `path` is or will be; nil where the system does not say.
  package static func freeBytes(at path: String) -> Double? {
    var status = statvfs()
    guard statvfs(nearestFolder(to: path), &status) == 0 else { return nil }
    return Double(status.f_bavail) * Double(status.f_frsize)
  }

  /// Whether two paths, which need not exist yet, are on one disk.
  package static func isOneDisk(_ a: String, _ b: String) -> Bool { device(of: a) == device(of: b) }

  private static func device(of path: String) -> dev_t? {
    var status = stat()
    return stat(nearestFolder(to: path), &status) == 0 ? status.st_dev : nil
  }

  /// The path itself, or the lowest folder above it that exists.
  private static func nearestFolder(to path: String) -> String {
    var folder = URL(fileURLWithPath: path)
    while !FileManager.default.fileExists(atPath: folder.path), folder.path != "/" { folder.deleteLastPathComponent() }
    return folder.path
  }

  /// Bytes of a file; nil when there is none.
  package static func size(of path: String) -> Int? {
    var status = stat()
    return stat(path, &status) == 0 ? Int(status.st_size) : nil
  }

  /// Bytes of all files under a folder; 0 when there is none.
  package static func bytes(under folder: String) -> Double {
    let files = FileManager.default.enumerator(
      at: URL(fileURLWithPath: folder).resolvingSymlinksInPath(),
      includingPropertiesForKeys: [.fileSizeKey, .isRegularFileKey])
    var sum = 0.0
    while let file = files?.nextObject() as? URL {
      let values = try? file.resourceValues(forKeys: [.fileSizeKey, .isRegularFileKey])
      if values?.isRegularFile == true { sum += Double(values?.fileSize ?? 0) }
    }
    return sum
  }
}
