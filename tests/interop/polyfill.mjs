// js-libp2p needs Promise.withResolvers, which Node has from version 22 on.

Promise.withResolvers ??= function () {
  let resolve, reject
  const promise = new this((fulfil, refuse) => { [resolve, reject] = [fulfil, refuse] })
  return { promise, resolve, reject }
}
