import Foundation

/// The name of this machine.
package enum HostName {
  /// The name that the kernel has; nil where it has none. A look-up of the full name could wait for the network.
  package static var own: String? {
    var name = [CChar](repeating: 0, count: 256)
    guard gethostname(&name, name.count - 1) == 0 else { return nil }
    return String(decoding: name.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
  }
}
