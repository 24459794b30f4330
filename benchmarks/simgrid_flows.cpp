// Finish times of flows on a leaf-spine fabric by SimGrid's plain max-min model (CM02 without corrections).
//
//     simgrid_flows HOSTS HOSTS_PER_LEAF CARD_BYTES_PER_S UPLINK_BYTES_PER_S < flows > ends
//
// A line of flows is "start_s source destination bytes"; a line of ends is the time at which that flow ended.
// The last line of standard error is the processor time of the simulation in seconds.
#include <simgrid/s4u.hpp>

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>
#include <vector>

namespace s4u = simgrid::s4u;

struct Flow {
  double start_s;
  int source, destination;
  double bytes;
};

static std::vector<s4u::LinkInRoute> in_route(const std::vector<const s4u::Link*>& path)
{
  return {path.begin(), path.end()};
}

int main(int argc, char** argv)
{
  s4u::Engine engine(&argc, argv);
  for (const char* setting : {"network/model:CM02", "network/TCP-gamma:0", "network/weight-S:0",
                              "network/crosstraffic:0", "network/bandwidth-factor:1", "network/latency-factor:1",
                              "surf/precision:1e-9", "maxmin/precision:1e-9"})
    s4u::Engine::set_config(setting);
  const int hosts = std::atoi(argv[1]), per_leaf = std::atoi(argv[2]), leaves = hosts / per_leaf;
  const double card = std::atof(argv[3]), uplink = std::atof(argv[4]);
  std::vector<Flow> flows;
  for (Flow flow; std::scanf("%lf %d %d %lf", &flow.start_s, &flow.source, &flow.destination, &flow.bytes) == 4;)
    flows.push_back(flow);

  auto* zone = s4u::create_full_zone("fabric");
  std::vector<s4u::Host*> host;
  std::vector<const s4u::Link*> up, down, leaf_up, leaf_down;
  const auto link = [zone](const std::string& name, double rate) {
    return zone->create_link(name, rate)->set_latency(0.0)->seal();
  };
  for (int i = 0; i < hosts; i++) {
    host.push_back(zone->create_host("host" + std::to_string(i), 1e9)->seal());
    up.push_back(link("up" + std::to_string(i), card));
    down.push_back(link("down" + std::to_string(i), card));
  }
  for (int i = 0; i < leaves; i++) {
    leaf_up.push_back(link("leaf_up" + std::to_string(i), uplink));
    leaf_down.push_back(link("leaf_down" + std::to_string(i), uplink));
  }
  for (int from = 0; from < hosts; from++)
    for (int to = 0; to < hosts; to++) {
      if (from == to)
        continue;
      std::vector<const s4u::Link*> path = {up[from]};
      if (from / per_leaf != to / per_leaf) {
        path.push_back(leaf_up[from / per_leaf]);
        path.push_back(leaf_down[to / per_leaf]);
      }
      path.push_back(down[to]);
      zone->add_route(host[from]->get_netpoint(), host[to]->get_netpoint(), nullptr, nullptr,
                      in_route(path), false);
    }
  zone->seal();
  std::vector<double> end_s(flows.size());
  const std::clock_t begin = std::clock();
  s4u::Actor::create("source", host[0], [&] {
    std::vector<s4u::CommPtr> running;
    for (const Flow& flow : flows) {
      s4u::this_actor::sleep_until(flow.start_s);
      running.push_back(s4u::Comm::sendto_async(host[flow.source], host[flow.destination], static_cast<uint64_t>(flow.bytes)));
    }
    for (size_t i = 0; i < running.size(); i++) {
      running[i]->wait();
      end_s[i] = running[i]->get_finish_time();
    }
  });
  engine.run();
  std::fprintf(stderr, "%.6f\n", static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC);
  for (double each : end_s)
    std::printf("%.17g\n", each);
}
